"use strict";
// What several of the page's scripts use.
const scaleprofShared = (function () {
  const element = (name, text, className) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  };

  // A name in two lines, broken at the blank nearest to its middle.
  function inTwoLines(text) {
    const blanks = Array.from(text.matchAll(/ /g), (found) => found.index);
    if (!blanks.length) return text;
    const at = blanks.reduce((best, blank) => Math.abs(blank - text.length / 2) < Math.abs(best - text.length / 2) ? blank : best);
    return text.slice(0, at) + "<br>" + text.slice(at + 1);
  }

  // A run or a variant that was not shown yet lies in the page as text: here it becomes a part of it, and those who wait for parts are told.
  const waiting = [];
  function unpack(part) {
    const packed = part.querySelector(":scope > noscript.later");
    if (!packed) return;
    part.innerHTML = packed.textContent; // Markup of the page's own: names from a trace were escaped in it when the page was made.
    for (const told of waiting) told(part);
  }
  const unpackRun = (run) => { for (const part of document.querySelectorAll(`[data-run="${CSS.escape(run)}"]`)) unpack(part); };

  // The element of that id, also in a run that was not shown yet.
  function find(id) {
    const ofRun = /^run-(\d+)(?:-|$)/.exec(id);
    if (ofRun) unpackRun(ofRun[1]);
    return document.getElementById(id);
  }

  return { element, inTwoLines, unpack, unpackRun, find, whenUnpacked: (told) => waiting.push(told) };
})();
