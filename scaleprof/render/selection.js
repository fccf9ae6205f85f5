"use strict";
// What the reader selected, in one place: a series, a run of it (a world size), a rank and a step. The address keeps it, as
// #<section>?series=<id>&run=<name>&rank=<number>&step=<number>, without what stands as the page opens. Every section follows: variants made for the
// series or the run take the place of the whole, a rank and a step are marked in charts, tables and timelines and looked up. Nothing is computed.
function scaleprofSelection({ loadData, refresh, currentSection }) {
  const { element, find, unpack, unpackRun } = scaleprofShared;
  const byId = (id) => document.getElementById(id);
  const seriesSelect = byId("series-select"), runSelect = byId("run-select"), rankInput = byId("rank-select"), stepInput = byId("step-select");
  const options = runSelect ? Array.from(runSelect.options) : [];
  const shownFirst = document.querySelector(".run.selected");
  let shipped = null;
  const first = { series: "", run: shownFirst ? shownFirst.dataset.run : "", rank: null, step: null };
  const now = { ...first };
  const NAMED = /^rank (\d+)$/;
  const bySize = [...options].sort((a, b) => a.dataset.size - b.dataset.size);
  const isIn = (option, series) => !series || option.dataset.series.split(" ").includes(series);

  // ---- the address ----
  function address() {
    const [section, query] = location.hash.slice(1).split("?");
    const asked = new URLSearchParams(query || "");
    const option = options.find((option) => option.dataset.key === asked.get("run"));
    const number = (name) => (/^\d+$/.test(asked.get(name) || "") ? Number(asked.get(name)) : null);
    const run = option ? option.value : first.run, series = asked.get("series") || "";
    const known = seriesSelect && Array.from(seriesSelect.options).some((one) => one.value === series) && isIn(options.find((one) => one.value === run), series);
    return { section, series: known ? series : "", run, rank: number("rank"), step: number("step") };
  }

  function remember(section) {
    const kept = new URLSearchParams();
    if (now.series) kept.set("series", now.series);
    if (now.run !== first.run) kept.set("run", options.find((option) => option.value === now.run).dataset.key);
    if (now.rank !== null) kept.set("rank", now.rank);
    if (now.step !== null) kept.set("step", now.step);
    const query = String(kept);
    try { history.replaceState(null, "", "#" + section + (query ? "?" + query : "")); } catch (blocked) { /* A page without an address of its own keeps none. */ }
  }

  // ---- what follows ----
  // The variant for the run, else the one for the series, else the whole; as the page opened, the whole.
  function showVariants() {
    for (const section of document.querySelectorAll("main section")) {
      const variants = Array.from(section.querySelectorAll(".variant"));
      const ofRun = variants.filter((one) => one.dataset.ofRun === now.run), ofSeries = variants.filter((one) => one.dataset.ofSeries === now.series);
      const touched = now.series || now.run !== first.run;
      const chosen = touched && ofRun.length ? ofRun : now.series && ofSeries.length ? ofSeries : variants.filter((one) => one.classList.contains("whole"));
      for (const one of variants) one.classList.toggle("shown", chosen.includes(one));
      chosen.forEach(unpack);
    }
  }

  function showChoices() {
    if (seriesSelect) seriesSelect.value = now.series;
    for (const option of now.series ? bySize : options) {
      runSelect.appendChild(option);
      option.hidden = option.disabled = !isIn(option, now.series);
      option.textContent = now.series ? option.dataset.short : option.dataset.long;
    }
    if (runSelect) runSelect.value = now.run;
    if (rankInput) rankInput.value = now.rank === null ? "" : now.rank;
    if (stepInput) stepInput.value = now.step === null ? "" : now.step;
  }

  // Cells of a column as numbers, by row; null where the table has no such column.
  function column(table, name) {
    const head = table.querySelector(`th[data-column="${name}"]`);
    if (!head) return null;
    const place = Array.from(head.parentNode.children).indexOf(head);
    return Array.from(table.tBodies[0].rows, (row) => Number(row.cells[place].textContent.replaceAll(",", "")));
  }

  // Of tables over series only the rows of the selected one are shown.
  function filterRows() {
    const label = now.series ? seriesSelect.selectedOptions[0].textContent : "";
    for (const head of document.querySelectorAll('main > section th[data-column="series"]')) {
      const place = Array.from(head.parentNode.children).indexOf(head), rows = Array.from(head.closest("table").tBodies[0].rows);
      const known = rows.some((row) => row.cells[place].textContent === label);
      for (const row of rows) row.hidden = known && row.cells[place].textContent !== label;
    }
  }

  // Rows of the run's tables about the rank and the step are marked, and said once more at its head.
  function markRows() {
    for (const row of document.querySelectorAll(".marked-row")) row.classList.remove("marked-row");
    for (const box of document.querySelectorAll(".marked")) box.hidden = true;
    const run = document.querySelector(".run.selected"), box = run && run.querySelector(".marked");
    if (!box || (now.rank === null && now.step === null)) return;
    const list = element("dl");
    for (const part of run.querySelectorAll("[data-table]")) {
      const table = part.querySelector("table"), wanted = [["rank", now.rank], ["step", now.step]];
      const columns = wanted.map(([name, value]) => [column(table, name), value]).filter(([values]) => values);
      if (!columns.length || columns.some(([, value]) => value === null)) continue;
      const rows = Array.from(table.tBodies[0].rows).filter((row, place) => columns.every(([values, value]) => values[place] === value));
      for (const row of rows) row.classList.add("marked-row");
      if (rows.length > 1) continue;
      const heads = Array.from(table.tHead.rows[0].cells);
      const said = rows.length
        ? heads.map((head, place) => [head.dataset.column, head.textContent.trim().replace(/\s+/g, " "), cellText(rows[0], place)])
        : beyond(part.dataset.table, wanted);
      const told = said.filter(([column, , text]) => text && text !== "–" && !["rank", "step"].includes(column));
      if (!told.length) continue;
      list.appendChild(element("dt", part.getAttribute("aria-label")));
      list.appendChild(element("dd", told.slice(0, 8).map(([, head, text]) => `${head} ${text}`).join(" · ")));
    }
    const what = [now.rank === null ? "" : `rank ${now.rank}`, now.step === null ? "" : `step ${now.step}`].filter(Boolean).join(", ");
    box.replaceChildren(element("h3", what[0].toUpperCase() + what.slice(1) + " of this run"), list.children.length ? list : element("p", "No table of this run has a row of its own for it; charts and the timeline mark it.", "hint"));
    box.hidden = false;
  }
  // Of a table that is not whole on the page: the one row of its CSV file that is asked for, by column.
  function beyond(key, wanted) {
    if (!shipped) {
      loadData().then((data) => { const isFirst = !shipped; shipped = data; if (isFirst) markRows(); }, () => {});
      return [];
    }
    const table = shipped.tables[key];
    const asked = wanted.map(([name, value]) => [table.values[table.columns.indexOf(name)], value]).filter(([values]) => values);
    const rows = table.values[0].map((_, row) => row).filter((row) => asked.every(([values, value]) => values[row] === value));
    if (rows.length !== 1) return [];
    const text = (value) => (value === null ? "" : typeof value === "number" ? Number(value.toPrecision(4)).toLocaleString("en") : String(value));
    return table.columns.map((name, place) => [name, name.replaceAll("_", " "), text(table.values[place][rows[0]])]);
  }
  const cellText = (row, place) => row.cells[place].textContent.trim().replace(/\s+/g, " ");

  function show() {
    unpackRun(now.run);
    for (const part of document.querySelectorAll("[data-run]")) part.classList.toggle("selected", part.dataset.run === now.run);
    for (const figure of document.querySelectorAll("[data-timeline]")) Object.assign(figure.dataset, { rank: now.rank ?? "", step: now.step ?? "" });
    showVariants();
    showChoices();
    filterRows();
    markRows();
    refresh();
  }

  // ---- changes ----
  function change(asked, section) {
    Object.assign(now, asked);
    show();
    const reading = currentSection();
    remember(section || (reading ? reading.id : "overview"));
  }

  // After another run: the same section of it, where the reader was in a run.
  function changeRun(asked) {
    const reading = currentSection(), inRun = reading && reading.closest(".run");
    Object.assign(now, asked, { rank: null, step: null });
    show();
    const same = inRun && document.querySelector(`.run.selected section[data-name="${CSS.escape(reading.dataset.name || "")}"]`);
    const target = inRun ? same || byId("run-" + now.run) : reading;
    if (inRun) target.scrollIntoView({ behavior: "instant" });
    remember(target ? target.id : "overview");
  }

  if (seriesSelect) seriesSelect.addEventListener("change", () => {
    const series = seriesSelect.value, size = options.find((option) => option.value === now.run).dataset.size;
    const inside = bySize.filter((option) => isIn(option, series));
    const alike = inside.find((option) => option.value === now.run) || inside.find((option) => option.dataset.size === size) || inside[inside.length - 1];
    changeRun({ series, run: series ? alike.value : first.run });
  });
  if (runSelect) runSelect.addEventListener("change", () => changeRun({ run: runSelect.value }));
  async function typed(input, name, allowed) {
    const data = await loadData(), text = input.value.trim();
    const value = text === "" ? null : Number(text), good = value === null || allowed(data.runs[Number(now.run)], value);
    input.setAttribute("aria-invalid", String(!good));
    input.title = good ? "" : `This run has no such ${name}.`;
    if (good) change({ [name]: value });
  }
  if (rankInput) rankInput.addEventListener("change", () => typed(rankInput, "rank", (run, rank) => run.ranks.includes(rank)));
  if (stepInput) stepInput.addEventListener("change", () => typed(stepInput, "step", (run, step) => run.steps.length && step >= run.steps[0] && step <= run.steps[1]));

  document.addEventListener("click", (event) => {
    const row = event.target.closest(".run [data-table] tbody tr");
    if (row && !String(window.getSelection())) { // a row whose text is being copied is not chosen
      const values = column(row.closest("table"), "rank");
      if (values) change({ rank: values[row.sectionRowIndex] === now.rank ? null : values[row.sectionRowIndex] });
      return;
    }
    const link = event.target.closest('a[href^="#"]');
    const target = link && find(link.getAttribute("href").slice(1));
    if (!target) return;
    event.preventDefault();
    const run = target.closest("[data-run]"), asked = {};
    if (run && run.dataset.run !== now.run) {
      const option = options.find((option) => option.value === run.dataset.run);
      Object.assign(asked, { run: run.dataset.run, rank: null, step: null });
      if (!isIn(option, now.series)) asked.series = "";
    }
    if (link.dataset.rank) asked.rank = Number(link.dataset.rank);
    if (link.dataset.step) asked.step = Number(link.dataset.step);
    if (Object.keys(asked).length) change(asked, target.id);
    target.scrollIntoView();
    target.tabIndex = -1; // The next Tab goes on from there, as after any link.
    target.focus({ preventScroll: true });
    remember(target.id);
  });

  function follow() {
    const { section, ...asked } = address();
    Object.assign(now, asked);
    show();
    if (section && byId(section)) byId(section).scrollIntoView({ behavior: "instant" });
  }
  window.addEventListener("hashchange", follow);

  // ---- charts ----
  // What is marked in a chart, as one word: it is drawn again when that changes.
  const canMark = ({ layout, data }) => Boolean(layout && ((layout.meta && layout.meta.ranks) || data.some((trace) => NAMED.test(trace.name || ""))));
  const marks = (plot) => (plot.closest(".run") && canMark(plot) ? `${now.rank} ${now.step}` : "");

  // The figure with the selected rank and step marked: a frame in pictures by rank and step, the other ranks' lines faint.
  function marked(plot, figure) {
    if (!plot.closest(".run") || (now.rank === null && now.step === null)) return figure;
    const { traces, layout } = figure;
    const named = traces.filter((trace) => NAMED.test(trace.name || ""));
    if (named.some((trace) => trace.name === `rank ${now.rank}`)) for (const trace of named) if (trace.name !== `rank ${now.rank}`) trace.opacity = 0.2;
    const meta = layout.meta;
    if (meta && meta.ranks && meta.steps) {
      const frame = (place) => ({ type: "rect", xref: "x", yref: "y", line: { color: layout.font.color, width: 2 }, ...place });
      const row = meta.ranks.indexOf(now.rank), later = meta.steps.findIndex((step) => step > now.step);
      const at = now.step === null || now.step < meta.steps[0] ? -1 : later < 0 ? meta.steps.length - 1 : later - 1;
      const shapes = [];
      if (row >= 0) shapes.push(frame({ x0: -0.5, x1: meta.steps.length - 0.5, y0: row - 0.5, y1: row + 0.5 }));
      if (at >= 0) shapes.push(frame({ x0: at - 0.5, x1: at + 0.5, y0: -0.5, y1: meta.ranks.length - 0.5 }));
      layout.shapes = [...(layout.shapes || []), ...shapes];
    }
    return figure;
  }

  // A click on a cell, a bar or a line of a rank selects it.
  function listen(plot) {
    if (plot.dataset.listens || !plot.closest(".run")) return;
    plot.dataset.listens = "yes";
    plot.on("plotly_click", ({ points: [point] }) => {
      const meta = plot.layout.meta, by = NAMED.exec(String(point.customdata || "")) || NAMED.exec(point.data.name || "");
      if (point.data.type === "heatmap" && meta && meta.ranks) change({ rank: meta.ranks[point.y], step: meta.steps[point.x] });
      else if (by) change({ rank: Number(by[1]) });
    });
  }

  return { follow, marked, marks, listen };
}
