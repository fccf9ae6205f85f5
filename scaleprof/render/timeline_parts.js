"use strict";
// What timelines have in common: times in words, colours, the key, and how a step is unpacked.
const scaleprofTimelineParts = (function () {
  const WAIT = "#85175c";

  const { element } = scaleprofShared;

  const ms = (value) => {
    const size = Math.abs(value);
    return size >= 1000 ? (value / 1000).toPrecision(4) + " s" : size >= 1 || size === 0 ? Number(value.toPrecision(4)) + " ms" : Number((value * 1000).toPrecision(4)) + " µs";
  };

  // Whether black is read better on a colour than white.
  function isLight(color) {
    const part = (place) => (parseInt(color.slice(1 + 2 * place, 3 + 2 * place), 16) / 255) ** 2.2;
    return /^#[0-9a-f]{6}$/i.test(color) && 0.2126 * part(0) + 0.7152 * part(1) + 0.0722 * part(2) > 0.18;
  }

  // A step with its times in ms: in the file they are whole ticks, and each slice begins so many after the one before.
  function unpacked(step, tick) {
    const inMs = (ticks) => (ticks === null ? null : ticks * tick);
    let at = 0;
    return {
      ...step, at: step.at.map((ticks) => inMs((at += ticks))), dur: step.dur.map(inMs), wait: step.wait.map(inMs),
      windows: step.windows.map((ends) => ends && ends.map(inMs)),
    };
  }

  const MEANING = {
    "#2d48a9": "compute", "#d4801e": "transfer", "#85175c": "blocked in communication", "#027a52": "copies", "#3b2fb5": "input",
    "#e24144": "waits for the device", "#006700": "garbage, checkpoint, compilation", "#439ac4": "allocation", "#8d96a4": "host", "#5b6676": "critical path",
  };

  // The colours that some step uses, with what they mean.
  function showKey(key, colors, steps, colored) {
    const add = (text, background) => {
      const entry = key.appendChild(element("span"));
      entry.appendChild(element("i")).style.background = background;
      entry.append(text);
    };
    key.replaceChildren();
    const used = new Set(steps.flatMap((step) => step.color));
    colors.forEach((color, place) => { if (used.has(place) && MEANING[color]) add(MEANING[color], colored(color)); });
    if (steps.some((step) => step.wait.some((one) => one))) add("waiting for the last rank", `repeating-linear-gradient(135deg, ${colored(WAIT)} 0 1.5px, transparent 1.5px 4px)`);
  }

  return { ms, isLight, unpacked, showKey, WAIT };
})();
