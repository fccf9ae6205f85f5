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

  return { element, inTwoLines };
})();
