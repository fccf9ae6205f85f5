"use strict";
// What lies compressed in the file, unpacked once when it is first asked for: the figures of what is shown as the page opens, the library that draws
// them, and the rest: figures of what can be selected, timelines and the numbers behind charts and tables.
const scaleprofLoading = (function () {
  const figures = {}; // by id of the plot: `figure`, and `shares` where it has that form
  let swap = {}; // every light colour to its dark one

  async function inflate(id) {
    const text = document.getElementById(id).textContent.trim();
    return new Response(new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  }

  function bytesOf(text) {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
    const letters = atob(text), bytes = new Uint8Array(letters.length);
    for (let place = 0; place < letters.length; place++) bytes[place] = letters.charCodeAt(place);
    return bytes;
  }

  function once(load) {
    let promise = null;
    return () => (promise = promise || load());
  }

  const loadFigures = once(async () => {
    const opening = JSON.parse(await inflate("figures-gz"));
    Object.assign(figures, opening.figures);
    swap = opening.swap;
  });

  const loadLibrary = once(async () => {
    const script = document.createElement("script");
    script.textContent = await inflate("plotly-gz"); // Its hash stands in the policy of this page.
    document.head.appendChild(script);
  });

  const loadData = once(async () => {
    const data = JSON.parse(await inflate("data-gz"));
    for (const [id, chart] of Object.entries(data.charts)) if (chart.figure) figures[id] = chart;
    return data;
  });

  const loadCharts = () => Promise.all([loadFigures(), loadLibrary()]);

  return { figures, loadCharts, loadData, swapped: (color) => (Object.hasOwn(swap, color) ? swap[color] : color) };
})();
