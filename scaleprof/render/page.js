"use strict";
// What moves on the page: inflates figures and plotly, draws charts when they come into view, switches the theme, prints, and hands out data.
// It computes no number of the report. Text from a trace reaches the document through textContent only.
(function () {
  const root = document.documentElement;
  const config = { showSendToCloud: false, plotlyServerURL: "", displaylogo: false, displayModeBar: false, responsive: false, scrollZoom: false };
  const plots = Array.from(document.querySelectorAll(".plot"));
  const byId = (id) => document.getElementById(id);
  const { element, inTwoLines } = scaleprofShared;
  let data = null;

  // ---- what lies compressed in the file ----
  async function inflate(id) {
    const letters = atob(byId(id).textContent.trim()), bytes = new Uint8Array(letters.length);
    for (let place = 0; place < letters.length; place++) bytes[place] = letters.charCodeAt(place);
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  }

  let dataPromise = null;
  function loadData() {
    dataPromise = dataPromise || inflate("data-gz").then((text) => (data = JSON.parse(text)));
    return dataPromise;
  }

  let plotlyPromise = null;
  function loadPlotly() {
    plotlyPromise = plotlyPromise || inflate("plotly-gz").then((source) => {
      const script = document.createElement("script");
      script.textContent = source; // Its hash stands in the policy of this page.
      document.head.appendChild(script);
      return window.Plotly;
    });
    return plotlyPromise;
  }

  // ---- charts ----
  const onPaper = () => root.classList.contains("printing");
  function dark() {
    return root.dataset.theme === "dark" && !onPaper();
  }
  const drawnFor = () => (onPaper() ? "paper" : dark() ? "dark" : "light");

  // A copy in which every colour that is exactly one of the light palette is replaced by its dark one.
  function colored(value) {
    if (typeof value === "string") return dark() && Object.hasOwn(data.swap, value) ? data.swap[value] : value;
    if (Array.isArray(value)) return value.map(colored);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, colored(item)]));
  }

  // On a narrow screen names take two lines, labels lose their second part, and what is still too long is cut at the edge.
  function narrowed(traces, layout, width) {
    const margin = layout.margin;
    if (layout.yaxis.ticktext) {
      layout.yaxis.ticktext = layout.yaxis.ticktext.map((text) => (text.length < 13 ? text : inTwoLines(text)));
      const longest = Math.max(...layout.yaxis.ticktext.flatMap((text) => text.split("<br>")).map((line) => line.length));
      margin.l = Math.min(margin.l, longest * 7 + 10, Math.round(width * 0.36));
    }
    if (traces[0].base) {
      for (const label of layout.annotations) label.text = label.text.replace(/<\/b>.*$/, "</b>");
      margin.r = Math.min(margin.r, 74);
    }
    margin.r = Math.min(margin.r, Math.round(width * 0.33));
    layout.xaxis.nticks = 5;
  }

  // The figure for a given width, lower on paper, where two shall fit on a page; a legend that needs several lines gets them.
  function fitted(figure, width, plot) {
    const { data: traces, layout } = colored(figure);
    const margin = layout.margin;
    if (layout.meta) scaleprofHeatmap(plot, traces, layout, width, () => draw(plot));
    if (width < 460) narrowed(traces, layout, width);
    if (onPaper() && !layout.meta && layout.height < 480 && traces.length < 8) layout.height = Math.round(Math.max(Math.min(layout.height, 230), layout.height * 0.72));
    if (layout.showlegend) {
      let lines = 1, used = 0;
      for (const trace of traces.filter((trace) => trace.showlegend !== false)) {
        const wide = trace.name.length * 7 + 44;
        if (used && used + wide > width - margin.l - margin.r) { lines += 1; used = 0; }
        used += wide;
      }
      margin.t += (lines - 1) * 20;
      layout.height += (lines - 1) * 20;
    }
    return { traces, layout: { ...layout, width } };
  }

  function draw(plot) {
    if (!data || !window.Plotly || !plot.clientWidth) return;
    const { traces, layout } = selection.marked(plot, fitted(data.charts[plot.id][plot.dataset.form || "figure"], plot.clientWidth, plot));
    plot.style.minHeight = layout.height + "px";
    plot.classList.remove("wait");
    window.Plotly.react(plot, traces, layout, config);
    plot.dataset.drawn = drawnFor();
    plot.dataset.width = plot.clientWidth;
    plot.dataset.marks = selection.marks(plot);
    selection.listen(plot);
  }

  async function drawLater(plot) {
    plot.classList.add("wait");
    await Promise.all([loadData(), loadPlotly()]);
    if (!plot.dataset.drawn) draw(plot);
  }

  const watcher = new IntersectionObserver((seen) => {
    for (const entry of seen.filter((entry) => entry.isIntersecting)) {
      watcher.unobserve(entry.target);
      drawLater(entry.target).catch(unable);
    }
  }, { rootMargin: "500px 0px" });

  function unable() {
    for (const plot of plots.filter((plot) => !plot.dataset.drawn)) {
      plot.classList.remove("wait");
      plot.textContent = "This browser cannot unpack the charts; their numbers are in the tables.";
    }
  }

  // ---- timelines ----
  const timelines = new Map(), timelineFigures = Array.from(document.querySelectorAll("[data-timeline]"));
  function showTimeline(figure) {
    if (!timelines.has(figure)) timelines.set(figure, scaleprofTimeline(figure, data.timelines[figure.dataset.timeline], colored));
  }
  const timelineWatcher = new IntersectionObserver((seen) => {
    for (const entry of seen.filter((entry) => entry.isIntersecting)) {
      timelineWatcher.unobserve(entry.target);
      loadData().then(() => showTimeline(entry.target)).catch(unable);
    }
  }, { rootMargin: "500px 0px" });

  // Draw again what was drawn for another width, theme or selection: at once what is in view, the rest one by one behind it.
  const isOld = (plot) => plot.dataset.drawn && plot.clientWidth && (plot.dataset.drawn !== drawnFor() || Number(plot.dataset.width) !== plot.clientWidth || plot.dataset.marks !== selection.marks(plot));
  let later = 0;
  function refresh() {
    clearTimeout(later);
    const old = [...Array.from(timelines.keys()).filter((figure) => figure.clientWidth), ...plots.filter(isOld)];
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
    const first = target.dataset.of && byId("title-" + target.dataset.of).closest("figure");
    if (first) target.querySelector("p").textContent = first.querySelector(".how p").textContent;
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
    for (const plot of plots) if (plot.clientWidth) draw(plot);
    if (data) for (const figure of timelineFigures) if (figure.clientWidth) showTimeline(figure);
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
    await Promise.all([loadData(), loadPlotly()]);
    window.print();
  });

  // ---- start: text is there already, the library comes after the first paint ----
  for (const plot of plots) watcher.observe(plot);
  for (const figure of timelineFigures) timelineWatcher.observe(figure);
  selection.follow();
  mark();
  requestAnimationFrame(() => setTimeout(() => Promise.all([loadData(), loadPlotly()]).catch(unable), 0));
})();
