"use strict";
// What a change would bring: a slider for the links and a switch for each other change, read from a grid of replays that the report holds. Between two
// links of the grid the step is read straight in one over the bandwidth, as transfers are; with nothing changed it is the measured step.
const scaleprofWhatIf = (function () {
  const { element } = scaleprofShared;
  const WORDS = {
    no_stragglers: "no stragglers", half_gradients: "half the gradient bytes", no_syncbn: "no SyncBatchNorm", no_input: "input always there",
    no_pauses: "no pauses", no_host_syncs: "no host syncs", no_launches: "launched at once",
  };
  const digits = (value) => (value >= 1000 ? value.toFixed(0) : value.toPrecision(3));

  // The grid by what is switched: links ascending, and the steps that they lead to.
  function read({ columns, values }) {
    const switches = columns.slice(1, -1), curves = new Map();
    values[0].forEach((link, row) => {
      const key = switches.map((_, place) => values[place + 1][row]).join("");
      if (!curves.has(key)) curves.set(key, []);
      curves.get(key).push([link, values[columns.length - 1][row]]);
    });
    return { switches, curves, links: curves.values().next().value.map(([link]) => link) };
  }

  function stepAt(curve, link) {
    const after = Math.max(1, curve.findIndex(([one]) => one >= link));
    if (curve.length === 1) return curve[0][1];
    const [[a, left], [b, right]] = [curve[after - 1], curve[after]];
    const share = (1 / link - 1 / a) / (1 / b - 1 / a);
    return left + (right - left) * share;
  }

  // Fills the card; `table` is the grid as the page has it.
  function build(card, table) {
    const { switches, curves, links } = read(table), base = stepAt(curves.get("0".repeat(switches.length)), 1);
    const heading = element("h3", "Try it"), answer = element("p", "", "whatif-answer"), controls = element("div", "", "whatif-controls");
    answer.setAttribute("aria-live", "polite");
    const boxes = switches.map((name) => {
      const label = element("label"), box = element("input");
      box.type = "checkbox";
      box.dataset.what = name;
      label.append(box, " " + (WORDS[name] || name));
      controls.append(label);
      return box;
    });
    let slider = null, said = null;
    if (links.length > 1) {
      const label = element("label", "", "whatif-link");
      slider = element("input");
      Object.assign(slider, { type: "range", min: Math.log2(links[0]), max: Math.log2(links[links.length - 1]), step: 0.01, value: 0 });
      slider.setAttribute("aria-label", "Bandwidth of links, times that of today");
      said = element("output");
      label.append("Links ", slider, said);
      controls.prepend(label);
    }
    const reset = element("button", "As measured", "small");
    controls.append(reset);
    function show() {
      const link = slider ? 2 ** Number(slider.value) : 1;
      const step = stepAt(curves.get(boxes.map((box) => Number(box.checked)).join("")), link);
      if (said) { said.textContent = `${digits(link)}×`; slider.setAttribute("aria-valuetext", `${digits(link)} times`); }
      answer.dataset.step = step;
      const changed = link !== 1 || boxes.some((box) => box.checked);
      const strong = element("b", `${digits(step)} ms a step`), rest = changed ? `, ${(base / step).toFixed(2)}× as fast as measured (${digits(base)} ms)` : ", as measured";
      answer.replaceChildren(strong, rest);
    }
    for (const input of [slider, ...boxes].filter(Boolean)) input.addEventListener("input", show);
    reset.addEventListener("click", () => { if (slider) slider.value = 0; for (const box of boxes) box.checked = false; show(); });
    card.replaceChildren(heading, controls, answer, element("p", "Replays of the recorded steps, jointly; between two of them the answer is interpolated.", "hint"));
    show();
  }

  return { build, read, stepAt };
})();
