"use strict";
// One timeline on a canvas: slices by rank and row, waiting hatched and apart from transfer, and the pointer and the keys that move about in it.
// It shows one of the steps that it has. `colored` turns colours of the light palette into those of the theme. Returns a function that draws it
// again, with the rank and the step that the page has selected. Text reaches the document through textContent only.
function scaleprofTimeline(figure, timeline, colored) {
  const canvas = figure.querySelector("canvas"), details = figure.querySelector(".timeline-details");
  const search = figure.querySelector("input"), found = figure.querySelector("[data-found]");
  const what = figure.querySelector(".timeline-what"), stepsBar = figure.querySelector(".timeline-steps");
  const ROWS = ["Host", "Compute", "Communication", "Critical path"], PATH = 3, HEIGHT = [8, 13, 15, 4], GAP = 3, BETWEEN = 9, LEFT = 64, MAP = 26, AXIS = 20;
  const { element } = scaleprofShared, { ms, isLight, unpacked, showKey, WAIT } = scaleprofTimelineParts;
  const { ranks, names } = timeline, everyStep = timeline.steps.map((step) => unpacked(step, timeline.tick_ms));
  let shown = -1, slices = null, count = 0, first = 0, last = 1, windows = [], begin = 0, end = 1, from = 0, to = 1;
  let selected = -1, matches = [], matched = new Set(), match = -1, showHost = ranks.length <= 8, lines = [], height = 0, pen = null, hatch = null;
  let chosenRank = "", chosenStep = "";

  // ---- the steps ----
  // Another step at the same times since its beginning; seen as a whole where the one before was.
  function showStep(place) {
    if (place === shown || !everyStep[place]) return;
    const wasWhole = shown < 0 || (from <= first && to >= last) || (from <= begin && to >= end);
    shown = place;
    slices = everyStep[place];
    count = slices.at.length;
    windows = slices.windows;
    const known = windows.filter(Boolean);
    begin = Math.min(...known.map((ends) => ends[0]));
    end = Math.max(...known.map((ends) => ends[1]));
    first = slices.at.reduce((least, at) => Math.min(least, at), begin);
    last = slices.at.reduce((most, at, slice) => Math.max(most, at + slices.dur[slice]), first + 1e-6);
    select(-1);
    layOut();
    find(search.value);
    if (wasWhole) all(); else look(from, to);
    canvas.dataset.step = slices.step;
    canvas.setAttribute("aria-label", `Timeline of ${slices.label}`);
    Array.from(stepsBar.querySelectorAll("button"), (button, of) => button.setAttribute("aria-pressed", String(of === shown)));
    say();
  }

  // The step, and what of the page's selection is not to be seen here.
  function say() {
    const missing = [];
    if (chosenRank !== "" && !ranks.includes(Number(chosenRank))) missing.push(`rank ${chosenRank} is not among the ${ranks.length} ranks shown`);
    if (chosenStep !== "" && !everyStep.some((step) => String(step.step) === chosenStep)) missing.push(`step ${chosenStep} is not among the steps shown here`);
    if (timeline.no_room_for.length) missing.push(`this report has no room for ${timeline.no_room_for.join("; ")}`);
    what.replaceChildren(element("b", slices.label), ...missing.map((text) => element("span", text)));
  }

  // What the page has selected since the last time: its step is shown, its rank comes first where not all ranks fit on a screen.
  function follow() {
    const rank = figure.dataset.rank || "", step = figure.dataset.step || "";
    if (rank === chosenRank && step === chosenStep) return;
    const asked = step === chosenStep ? -1 : everyStep.findIndex((one) => String(one.step) === step);
    chosenRank = rank;
    chosenStep = step;
    if (asked >= 0) showStep(asked);
    layOut();
    say();
  }

  // ---- lines: one for each rank, row and depth that some step uses ----
  function layOut() {
    const depths = new Map();
    for (const step of everyStep) {
      step.depth.forEach((depth, place) => {
        const key = step.rank[place] * ROWS.length + step.row[place];
        depths.set(key, Math.max(depths.get(key) || 0, depth + 1));
      });
    }
    lines = [];
    let top = MAP + AXIS;
    const order = Array.from(ranks.keys()), chosen = ranks.indexOf(chosenRank === "" ? null : Number(chosenRank));
    if (chosen > 0 && ranks.length > 4) order.unshift(...order.splice(chosen, 1));
    order.forEach((of) => {
      const rows = showHost ? [PATH, 0, 1, 2] : [PATH, 1, 2];
      const start = top;
      for (const row of rows) {
        const many = depths.get(of * ROWS.length + row);
        if (!many) continue;
        for (let depth = 0; depth < many; depth++) {
          lines.push({ of, row, depth, top, height: HEIGHT[row], slices: [] });
          top += HEIGHT[row] + 1;
        }
        top += GAP;
      }
      if (top > start) lines[lines.length - 1].lastOfRank = { of, start, end: top };
      top += BETWEEN;
    });
    const byKey = new Map(lines.map((line) => [`${line.of} ${line.row} ${line.depth}`, line]));
    for (let place = 0; place < count; place++) {
      const line = byKey.get(`${slices.rank[place]} ${slices.row[place]} ${slices.depth[place]}`);
      if (line) line.slices.push(place);
    }
    for (const line of lines) line.slices.sort((a, b) => slices.at[a] - slices.at[b]);
    height = top;
  }

  const scale = () => (canvas.clientWidth - LEFT - 8) / (to - from);
  const xOf = (time) => LEFT + (time - from) * scale();
  const timeAt = (x) => from + (x - LEFT) / scale();

  function colorOf(place) {
    return colored(timeline.colors[slices.color[place]]);
  }

  function style(name) {
    return getComputedStyle(figure).getPropertyValue(name).trim() || "#888";
  }

  function hatched() {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 6;
    const brush = tile.getContext("2d");
    brush.fillStyle = colored(WAIT);
    brush.globalAlpha = 0.28;
    brush.fillRect(0, 0, 6, 6);
    brush.globalAlpha = 1;
    brush.strokeStyle = colored(WAIT);
    brush.lineWidth = 1.4;
    for (const at of [-3, 3]) { brush.beginPath(); brush.moveTo(at, 7); brush.lineTo(at + 6, -1); brush.stroke(); }
    return pen.createPattern(tile, "repeat");
  }

  // ---- drawing ----
  function draw() {
    const width = canvas.clientWidth;
    if (!width) return;
    const ratio = window.devicePixelRatio || 1;
    canvas.style.height = height + "px";
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.font = "10.5px system-ui, sans-serif";
    hatch = hatched();
    const ink = getComputedStyle(figure).color, faint = getComputedStyle(details).color;
    drawAxis(width, faint);
    for (const line of lines) drawLine(line, width);
    for (const line of lines) if (line.lastOfRank) drawRank(line.lastOfRank, width, ink, faint);
    if (selected >= 0) mark(selected, ink, 2);
    drawMap(width, ink);
    canvas.dataset.from = from;
    canvas.dataset.to = to;
    canvas.dataset.selected = selected;
  }

  function drawAxis(width, faint) {
    const rough = (to - from) / Math.max(3, Math.floor((width - LEFT) / 110)), power = 10 ** Math.floor(Math.log10(rough));
    const tick = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
    pen.fillStyle = faint;
    pen.strokeStyle = faint;
    pen.textAlign = "center";
    for (let at = Math.ceil(from / tick) * tick; at <= to; at += tick) {
      const x = Math.round(xOf(at)) + 0.5;
      pen.globalAlpha = 0.22;
      pen.beginPath(); pen.moveTo(x, MAP + AXIS - 4); pen.lineTo(x, height); pen.stroke();
      pen.globalAlpha = 1;
      pen.fillText(ms(Math.abs(at) < tick / 1e6 ? 0 : at), x, MAP + AXIS - 7);
    }
    pen.textAlign = "left";
  }

  function drawLine(line, width) {
    const right = width - 8, each = scale();
    let drawn = -1;
    for (const place of line.slices) {
      const x = LEFT + (slices.at[place] - from) * each, wide = slices.dur[place] * each;
      if (x + wide < LEFT || x > right) continue;
      const left = Math.max(x, LEFT), edge = Math.min(Math.max(x + wide, left + 0.8), right);
      if (edge - drawn < 0.5 && edge - left < 1) continue; // what is under the same pixel was drawn
      drawn = edge;
      pen.fillStyle = colorOf(place);
      pen.globalAlpha = matches.length && !matched.has(place) ? 0.25 : line.row === 0 ? 0.75 : 1;
      const waited = slices.wait[place] ? Math.min(slices.wait[place], slices.dur[place]) * each : 0;
      const turn = Math.min(Math.max(x + waited, left), edge);
      if (turn < edge) pen.fillRect(turn, line.top, edge - turn, line.height);
      if (turn > left) { pen.fillStyle = hatch; pen.fillRect(left, line.top, turn - left, line.height); }
      pen.globalAlpha = 1;
      pen.fillStyle = colorOf(place);
      if (edge - left > 46 && line.height > 9) label(names[slices.name[place]], Math.max(turn, left), edge, line);
    }
  }

  function label(text, left, right, line) {
    const room = Math.floor((right - left - 8) / 6);
    if (room < 4) return;
    pen.fillStyle = isLight(pen.fillStyle) ? "#161a21" : "#fefefe";
    pen.fillText(text.length > room ? text.slice(0, room - 1) + "…" : text, left + 4, line.top + line.height - 4);
  }

  function drawRank({ of, start, end }, width, ink, faint) {
    if (figure.dataset.rank === String(ranks[of])) {
      pen.strokeStyle = ink;
      pen.strokeRect(0.5, start - 3.5, width - 1, end - start + 3);
    }
    pen.fillStyle = ink;
    pen.fillText("rank " + ranks[of], 2, start + 11);
    pen.strokeStyle = faint;
    if (!windows[of]) {
      pen.fillStyle = faint;
      pen.fillText("no profiler saw this step whole here", LEFT + 6, start + 11);
    }
    for (const edge of windows[of] || []) {
      const x = Math.round(xOf(edge)) + 0.5;
      if (x < LEFT || x > width - 8) continue;
      pen.setLineDash([3, 2]);
      pen.beginPath(); pen.moveTo(x, start - 2); pen.lineTo(x, end - GAP); pen.stroke();
      pen.setLineDash([]);
    }
  }

  function mark(place, ink, thick) {
    const line = lineOf(place);
    if (!line) return;
    pen.strokeStyle = ink;
    pen.lineWidth = thick;
    const x = Math.max(xOf(slices.at[place]), LEFT);
    pen.strokeRect(x, line.top - 1, Math.max(Math.min(xOf(slices.at[place] + slices.dur[place]), canvas.clientWidth - 8) - x, 2), line.height + 2);
    pen.lineWidth = 1;
  }

  function lineOf(place) {
    return lines.find((line) => line.of === slices.rank[place] && line.row === slices.row[place] && line.depth === slices.depth[place]);
  }

  function drawMap(width, ink) {
    const each = (width - LEFT - 8) / (last - first), of = Math.max(1, ranks.length), high = (MAP - 6) / of;
    pen.globalAlpha = 0.8;
    for (let place = 0; place < count; place++) {
      if (slices.row[place] === 0 || slices.row[place] === PATH) continue;
      const left = LEFT + (slices.at[place] - first) * each, top = 2 + slices.rank[place] * high, tall = Math.max(high - 0.5, 0.5);
      pen.fillStyle = colorOf(place);
      pen.fillRect(left, top, Math.max(slices.dur[place] * each, 0.6), tall);
      if (!slices.wait[place]) continue;
      pen.fillStyle = colored(WAIT);
      pen.fillRect(left, top, Math.min(slices.wait[place], slices.dur[place]) * each, tall);
    }
    pen.globalAlpha = 1;
    pen.strokeStyle = ink;
    const x = LEFT + (Math.max(from, first) - first) * each;
    pen.strokeRect(x, 1, Math.max((Math.min(to, last) - Math.max(from, first)) * each, 2), MAP - 4);
    pen.fillStyle = ink;
    pen.fillText("all", 2, 14);
  }

  // ---- moving ----
  function look(start, stop) {
    const least = Math.max((last - first) / 1e6, 1e-6), width = Math.min(Math.max(stop - start, least), (last - first) * 1.1);
    const middle = (start + stop) / 2, low = first - (last - first) * 0.05, high = last + (last - first) * 0.05;
    from = Math.min(Math.max(middle - width / 2, low), Math.max(high - width, low));
    to = from + width;
    requestAnimationFrame(draw);
  }
  const zoom = (factor, at = (from + to) / 2) => look(at - (at - from) * factor, at + (to - at) * factor);
  const move = (share) => look(from + (to - from) * share, to + (to - from) * share);
  const all = () => look(begin - (end - begin) * 0.03, end + (end - begin) * 0.03);

  // ---- choosing ----
  function at(x, y) {
    const line = lines.find((one) => y >= one.top - 1 && y <= one.top + one.height + 1);
    if (!line || x < LEFT) return -1;
    const time = timeAt(x), slack = 2 / scale();
    let best = -1, distance = slack;
    for (const place of line.slices) {
      const away = Math.max(slices.at[place] - time, time - slices.at[place] - slices.dur[place], 0);
      if (away < distance || (away === 0 && best < 0)) { best = place; distance = away; }
      if (away === 0) return place;
    }
    return best;
  }

  function select(place, { into = false } = {}) {
    selected = place;
    details.replaceChildren();
    if (place >= 0) describe(place);
    if (into && place >= 0) {
      const width = Math.min(to - from, Math.max(slices.dur[place] * 4, (to - from) / 3)), middle = slices.at[place] + slices.dur[place] / 2;
      if (slices.at[place] < from || slices.at[place] + slices.dur[place] > to) return look(middle - width / 2, middle + width / 2);
    }
    requestAnimationFrame(draw);
  }

  function describe(place) {
    const operation = slices.operation[place], size = slices.bytes[place], wait = slices.wait[place];
    const words = [`rank ${ranks[slices.rank[place]]}, ${ROWS[slices.row[place]].toLowerCase()}`, `starts at ${ms(slices.at[place])}`, `takes ${ms(slices.dur[place])}`];
    if (wait !== null) words.push(`waits ${ms(Math.min(wait, slices.dur[place]))} of it for the last rank`);
    if (size !== null) words.push(`${size.toLocaleString("en")} bytes`);
    details.append(element("b", names[slices.name[place]]), element("span", " · " + words.join(" · ")));
    if (operation === null) return;
    const others = [];
    for (let other = 0; other < count; other++) if (slices.operation[other] === operation && other !== place) others.push(other);
    if (!others.length) return;
    const jumps = details.appendChild(element("div", undefined, "jumps"));
    jumps.append(element("span", "The same operation on", "hint"));
    for (const other of others) {
      const waited = slices.wait[other] !== null ? `, waits ${ms(Math.min(slices.wait[other], slices.dur[other]))}` : "";
      const button = jumps.appendChild(element("button", `rank ${ranks[slices.rank[other]]}${waited}`, "small"));
      button.addEventListener("click", () => select(other, { into: true }));
    }
  }

  function find(text) {
    const wanted = text.trim().toLowerCase();
    const wantedNames = names.map((name) => name.toLowerCase().includes(wanted));
    matches = wanted ? Array.from(slices.at.keys()).filter((place) => wantedNames[slices.name[place]]) : [];
    matches.sort((a, b) => slices.at[a] - slices.at[b]);
    matched = new Set(matches);
    match = -1;
    found.textContent = wanted ? `${matches.length} found` : "";
    requestAnimationFrame(draw);
  }

  function next() {
    if (!matches.length) return;
    match = (match + 1) % matches.length;
    found.textContent = `${match + 1} of ${matches.length}`;
    select(matches[match], { into: true });
  }

  // ---- pointer, keys, buttons ----
  let drag = null;
  canvas.addEventListener("pointerdown", (event) => {
    const box = canvas.getBoundingClientRect();
    drag = { x: event.clientX, from, to, moved: false, map: event.clientY - box.top < MAP };
    canvas.setPointerCapture(event.pointerId);
    if (drag.map) toMap(event.clientX - box.left);
  });
  function toMap(x) {
    const time = first + (x - LEFT) / (canvas.clientWidth - LEFT - 8) * (last - first), half = (to - from) / 2;
    look(time - half, time + half);
  }
  canvas.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const box = canvas.getBoundingClientRect(), away = event.clientX - drag.x;
    if (drag.map) return toMap(event.clientX - box.left);
    if (Math.abs(away) > 3) drag.moved = true;
    if (drag.moved) look(drag.from - away / scale(), drag.to - away / scale());
  });
  canvas.addEventListener("pointerup", (event) => {
    const box = canvas.getBoundingClientRect(), was = drag;
    drag = null;
    if (was && !was.moved && !was.map) select(at(event.clientX - box.left, event.clientY - box.top));
  });
  canvas.addEventListener("dblclick", all);
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && document.activeElement !== canvas) return; // the page scrolls on
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.2 : 1 / 1.2, timeAt(event.clientX - canvas.getBoundingClientRect().left));
  }, { passive: false });
  const keys = {
    w: () => zoom(1 / 1.4), s: () => zoom(1.4), a: () => move(-0.2), d: () => move(0.2), "0": all, n: next, Escape: () => select(-1),
    "1": () => showStep(0), "2": () => showStep(1), "3": () => showStep(2), ArrowLeft: () => move(-0.1), ArrowRight: () => move(0.1), "+": () => zoom(1 / 1.4), "-": () => zoom(1.4), "/": () => search.focus(),
  };
  canvas.addEventListener("keydown", (event) => {
    const act = keys[event.key] || keys[event.key.toLowerCase()];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  });
  search.addEventListener("input", () => find(search.value));
  search.addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); next(); } });
  figure.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-do]");
    if (!button) return;
    const what = button.dataset.do;
    if (what === "in") zoom(1 / 1.4);
    if (what === "out") zoom(1.4);
    if (what === "all") all();
    if (what === "host") { showHost = !showHost; button.setAttribute("aria-pressed", String(showHost)); layOut(); requestAnimationFrame(draw); }
  });

  // ---- start ----
  figure.querySelector("[data-do=host]").setAttribute("aria-pressed", String(showHost));
  everyStep.forEach((step, place) => {
    const button = stepsBar.appendChild(element("button", step.label, "small"));
    button.title = `Show this step (${place + 1})`;
    button.addEventListener("click", () => showStep(place));
  });
  figure.classList.toggle("several", everyStep.length > 1);
  showStep(0);
  const redraw = () => { follow(); draw(); showKey(figure.querySelector(".timeline-key"), timeline.colors, everyStep, colored); };
  redraw();
  return redraw;
}
