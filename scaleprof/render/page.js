"use strict";
// What moves on the page: draws charts when they come into view, switches the theme, prints, and hands out data.
// It computes no number of the report. Text from a trace reaches the document through textContent, or was escaped when the page was made.
(function () {
  const root = document.documentElement;
  const config = { showSendToCloud: false, plotlyServerURL: "", displaylogo: false, displayModeBar: false, responsive: false, scrollZoom: false };
  const plots = () => Array.from(document.querySelectorAll(".plot"));
  const byId = (id) => document.getElementById(id);
  const { element, whenUnpacked } = scaleprofShared;
  const { figures, loadCharts, swapped } = scaleprofLoading;
  let data = null;

  const loadData = async () => (data = await scaleprofLoading.loadData());

  // ---- charts ----
  const onPaper = () => root.classList.contains("printing");
  function dark() {
    return root.dataset.theme === "dark" && !onPaper();
  }
  const drawnFor = () => (onPaper() ? "paper" : dark() ? "dark" : "light");

  // A copy in which every colour that is exactly one of the light palette is replaced by its dark one.
  function colored(value) {
    if (typeof value === "string") return dark() ? swapped(value) : value;
    if (Array.isArray(value)) return value.map(colored);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, colored(item)]));
  }

  // The figure in the colours of the theme, for a given width.
  function fitted(figure, width, plot) {
    const { data: traces, layout } = colored(figure);
    if (layout.meta) scaleprofHeatmap(plot, traces, layout, width, () => draw(plot));
    scaleprofFitting(traces, layout, width, onPaper());
    return { traces, layout: { ...layout, width } };
  }

  function draw(plot) {
    if (!figures[plot.id] || !window.Plotly || !plot.clientWidth) return;
    const { traces, layout } = selection.marked(plot, fitted(figures[plot.id][plot.dataset.form || "figure"], plot.clientWidth, plot));
    plot.style.minHeight = layout.height + "px";
    plot.classList.remove("wait");
    if (!plot.dataset.drawn) plot.textContent = ""; // what stands there without scripts
    window.Plotly.react(plot, traces, layout, config);
    plot.dataset.drawn = drawnFor();
    plot.dataset.width = plot.clientWidth;
    plot.dataset.marks = selection.marks(plot);
    selection.listen(plot);
  }

  // One thing after the other and each in a task of its own: the first chart is seen before the second is drawn.
  let last = Promise.resolve();
  function inTurn(act) {
    last = last.catch(() => {}).then(() => new Promise((done) => setTimeout(done, 0))).then(act);
    return last;
  }

  async function drawLater(plot) {
    plot.classList.add("wait");
    await loadCharts();
    if (!figures[plot.id]) await loadData();
    await inTurn(() => plot.dataset.drawn || draw(plot));
  }

  const watcher = new IntersectionObserver((seen) => {
    for (const entry of seen.filter((entry) => entry.isIntersecting)) {
      watcher.unobserve(entry.target);
      drawLater(entry.target).catch(unable);
    }
  }, { rootMargin: "500px 0px" });

  function unable() {
    for (const plot of plots().filter((plot) => !plot.dataset.drawn)) {
      plot.classList.remove("wait");
      plot.textContent = "This browser cannot unpack the charts; their numbers are in the tables.";
    }
  }

  // ---- timelines ----
  const timelines = new Map(), timelineFigures = () => document.querySelectorAll("[data-timeline]");
  function showTimeline(figure) {
    if (!timelines.has(figure)) timelines.set(figure, scaleprofTimeline(figure, data.timelines[figure.dataset.timeline], colored));
  }
  const timelineWatcher = new IntersectionObserver((seen) => {
    for (const entry of seen.filter((entry) => entry.isIntersecting)) {
      timelineWatcher.unobserve(entry.target);
      loadData().then(() => showTimeline(entry.target)).catch(unable);
    }
  }, { rootMargin: "500px 0px" });

  // ---- what-ifs ----
  const whatIfWatcher = new IntersectionObserver((seen) => {
    for (const entry of seen.filter((entry) => entry.isIntersecting)) {
      whatIfWatcher.unobserve(entry.target);
      loadData().then(() => scaleprofWhatIf.build(entry.target, data.tables[entry.target.dataset.grid])).catch(unable);
    }
  }, { rootMargin: "500px 0px" });

  // Draw again what was drawn for another width, theme or selection: at once what is in view, the rest one by one behind it.
  const isOld = (plot) => plot.dataset.drawn && plot.clientWidth && (plot.dataset.drawn !== drawnFor() || Number(plot.dataset.width) !== plot.clientWidth || plot.dataset.marks !== selection.marks(plot));
  let later = 0;
  function refresh() {
    clearTimeout(later);
    const old = [...Array.from(timelines.keys()).filter((figure) => figure.clientWidth), ...plots().filter(isOld)];
    const places = old.map((part) => part.getBoundingClientRect());
    const isSeen = (_, place) => places[place].bottom > 0 && places[place].top < window.innerHeight;
    const again = (part) => (timelines.has(part) ? timelines.get(part)() : isOld(part) && draw(part));
    const rest = old.filter((part, place) => !isSeen(part, place));
    old.filter(isSeen).forEach(again);
    const next = () => {
      if (!rest.length) return;
      again(rest.shift());
      later = setTimeout(next, 0);
    };
    later = setTimeout(next, 150); // after the frame that shows the change
  }

  let resizing = 0;
  window.addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(refresh, 120); });

  // ---- theme ----
  byId("theme").addEventListener("click", () => {
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("scaleprof-theme", root.dataset.theme); } catch (blocked) { /* A sandboxed frame has no storage; the theme then lasts as long as the page. */ }
    refresh();
  });

  // ---- what is selected ----
  function currentSection() {
    const above = Array.from(document.querySelectorAll("main section, main .run-head")).filter((part) => part.offsetParent && part.getBoundingClientRect().top < 140);
    return above.length ? above[above.length - 1] : null;
  }
  const selection = scaleprofSelection({ loadData, refresh, currentSection });

  const links = new Map(Array.from(document.querySelectorAll(".side a")).map((link) => [link.getAttribute("href").slice(1), link]));
  let marked = null;
  function mark() {
    const section = currentSection();
    const link = section && links.get(section.id);
    if (link === marked) return;
    if (marked) { marked.classList.remove("on"); marked.removeAttribute("aria-current"); }
    if (link) { link.classList.add("on"); link.setAttribute("aria-current", "true"); }
    marked = link;
  }
  window.addEventListener("scroll", () => requestAnimationFrame(mark), { passive: true });

  // ---- the numbers behind a chart or table ----
  function cell(value) {
    if (value === null || value === undefined) return "";
    let text = String(value);
    // A spreadsheet would run such a text as a formula; plain numbers stay numbers.
    if (typeof value !== "number" && /^[=+\-@\t\r]/.test(text) && !/^[+-]?\d+(\.\d+)?(e[+-]?\d+)?$/i.test(text)) text = "'" + text;
    return /[",\n\r]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
  }

  // They lie in the file by column, which compresses better.
  function numbersOf(key) {
    const { columns, values, name } = data.tables[key] || data.charts[key].data;
    return { columns, name, data: values.length ? values[0].map((_, row) => values.map((column) => column[row])) : [] };
  }

  function save(url, name) {
    const link = document.createElement("a");
    link.href = url;
    link.download = name.replace(/[^\w.-]+/g, "-");
    link.click();
  }

  function saveCsv(key) {
    const { columns, data: rows, name } = numbersOf(key);
    const text = [columns, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
    const url = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
    save(url, name + ".csv");
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  }

  function toggleData(button) {
    const foot = button.closest(".foot");
    const old = foot.querySelector(".data");
    button.setAttribute("aria-expanded", String(!old));
    if (old) { old.remove(); return; }
    const { columns, data: rows } = numbersOf(button.dataset.show);
    const box = element("div", undefined, "data scroll"), table = box.appendChild(element("table"));
    box.tabIndex = 0;
    const numeric = columns.map((_, place) => rows.some((row) => typeof row[place] === "number"));
    const head = table.appendChild(element("thead")).appendChild(element("tr"));
    columns.forEach((column, place) => head.appendChild(element("th", column, numeric[place] ? "" : "l")));
    const body = table.appendChild(element("tbody"));
    for (const row of rows.slice(0, 300)) {
      const line = body.appendChild(element("tr"));
      row.forEach((value, place) => line.appendChild(element("td", shownNumber(value), numeric[place] ? "" : "l")));
    }
    if (rows.length > 300) box.appendChild(element("p", `The first 300 of ${rows.length} rows; the CSV file has all of them.`, "hint"));
    foot.appendChild(box);
  }

  function shownNumber(value) {
    if (value === null) return "–";
    return typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(6))) : String(value);
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.csv || button.dataset.show) await loadData();
    if (button.dataset.form) {
      for (const other of button.parentNode.children) other.setAttribute("aria-pressed", String(other === button));
      byId(button.dataset.of).dataset.form = button.dataset.form;
      await drawLater(byId(button.dataset.of));
      draw(byId(button.dataset.of));
    }
    if (button.dataset.csv) saveCsv(button.dataset.csv);
    if (button.dataset.show) toggleData(button);
    if (button.dataset.png) {
      const plot = byId(button.dataset.png);
      await drawLater(plot);
      const url = await window.Plotly.toImage(plot, { format: "png", scale: 2 });
      save(url, numbersOf(plot.id).name + ".png");
    }
  });

  // What several charts have in common stands once in the file.
  document.addEventListener("toggle", ({ target }) => {
    if (target.dataset.of) loadData().then(() => (target.querySelector("p").textContent = data.charts[target.dataset.of].how));
  }, true);

  // ---- notes on words ----
  const tip = byId("tip");
  function showTip(event) {
    const word = event.target.closest && event.target.closest("[data-tip], .term");
    tip.hidden = !word;
    if (!word) return;
    tip.textContent = word.dataset.tip || byId(word.getAttribute("href").slice(1)).querySelector("dd").textContent;
    const at = word.getBoundingClientRect();
    tip.style.left = Math.max(8, Math.min(at.left, root.clientWidth - tip.offsetWidth - 8)) + "px";
    const below = at.bottom + 8 + tip.offsetHeight < root.clientHeight;
    tip.style.top = (below ? at.bottom + 8 : at.top - tip.offsetHeight - 8) + "px";
  }
  document.addEventListener("mouseover", showTip);
  document.addEventListener("focusin", showTip);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });

  // ---- paper: remedies are read there too, and a wide table is made small enough to be whole ----
  let opened = [];
  function forPaper() {
    root.classList.add("printing");
    opened = Array.from(document.querySelectorAll(".acts details:not([open])"));
    for (const details of opened) details.open = true;
    for (const table of document.querySelectorAll(".scroll > table")) {
      const box = table.parentElement, wide = box.scrollWidth;
      if (wide > box.clientWidth) table.style.zoom = (box.clientWidth / wide) * 0.99;
    }
    for (const plot of plots()) if (plot.clientWidth) draw(plot);
    if (data) for (const figure of timelineFigures()) if (figure.clientWidth) showTimeline(figure);
    for (const drawTimeline of timelines.values()) drawTimeline();
  }
  window.addEventListener("beforeprint", forPaper);
  window.addEventListener("afterprint", () => {
    root.classList.remove("printing");
    for (const details of opened) details.open = false;
    for (const table of document.querySelectorAll(".scroll > table")) table.style.zoom = "";
    refresh();
  });
  byId("print").addEventListener("click", async () => {
    await Promise.all([loadCharts(), loadData()]);
    window.print();
  });

  // ---- start: text is seen first, then the library and the figures are unpacked, and behind the first charts all the rest ----
  function watch(part) {
    for (const plot of part.querySelectorAll(".plot")) watcher.observe(plot);
    for (const figure of part.querySelectorAll("[data-timeline]")) timelineWatcher.observe(figure);
    for (const card of part.querySelectorAll("[data-grid]")) whatIfWatcher.observe(card);
  }
  watch(document);
  whenUnpacked(watch);
  selection.follow();
  mark();
  const isPainted = performance.getEntriesByName("first-paint").length > 0;
  const afterPaint = (act) => (isPainted ? act() : requestAnimationFrame(() => setTimeout(act, 0)));
  afterPaint(() => loadCharts().then(() => setTimeout(() => inTurn(loadData).catch(unable), 0)).catch(unable));
})();
