"use strict";
// A figure for the room it has: a screen of any width, or paper. It computes no number of the report; it moves, breaks and shortens texts.
const scaleprofFitting = (function () {
  const { inTwoLines } = scaleprofShared;
  const LETTER = 6.6, LINE = 14, TICK = 55; // pixels: of a letter at 12 px, of a line, and of a tick with room beside it

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
      const bold = layout.annotations.filter((label) => label.xanchor === "left").map((label) => label.text.length - 7);
      margin.r = Math.min(margin.r, Math.max(74, ...bold.map((letters) => letters * 8 + 10)));
    }
    margin.r = Math.min(margin.r, Math.round(width * 0.33));
  }

  // Numbers along the bottom lie level: there are as many as have room.
  function levelTicks(layout, width) {
    const axis = layout.xaxis, room = width - layout.margin.l - layout.margin.r;
    if (axis.type === "log" && axis.ticktext) thinnedTicks(axis, room);
    if (axis.tickvals || axis.ticktext) return;
    axis.tickangle = 0;
    axis.nticks = Math.max(2, Math.min(axis.nticks || 7, Math.floor(room / TICK)));
  }

  // Of sizes on a logarithmic axis those stay whose numbers do not touch, the largest first.
  function thinnedTicks(axis, room) {
    const [low, high] = axis.range, at = axis.tickvals.map((value) => ((Math.log10(value) - low) / (high - low)) * room);
    let next = Infinity;
    const kept = at.map((_, place) => place).reverse().filter((place) => {
      const half = (axis.ticktext[place].length * LETTER) / 2;
      if (at[place] + half + 5 > next) return false;
      next = at[place] - half;
      return true;
    }).reverse();
    for (const name of ["tickvals", "ticktext"]) axis[name] = kept.map((place) => axis[name][place]);
    axis.tickangle = 0;
  }

  // A legend that needs several lines gets them.
  function legendLines(traces, layout, width) {
    const margin = layout.margin, room = width - margin.l - margin.r;
    const wide = traces.filter((trace) => trace.showlegend !== false).map((trace) => trace.name.length * 7 + 44);
    const inOneLine = wide.reduce((sum, one) => sum + one, 0) <= room;
    const lines = inOneLine ? 1 : Math.ceil(wide.length / Math.max(1, Math.floor(room / Math.max(...wide)))); // columns are equally wide
    margin.t += (lines - 1) * 20;
    layout.height += (lines - 1) * 20;
    layout.legend = { ...layout.legend, maxheight: 1 }; // else half of the figure, and a bar to scroll it
  }

  // What is higher than the plot takes two lines.
  function uprightTitle(layout) {
    const title = layout.yaxis.title, room = layout.height - layout.margin.t - layout.margin.b;
    if (!title || !title.text || title.text.length * LETTER <= room || title.text.includes("<br>")) return;
    title.text = inTwoLines(title.text);
    layout.margin.l += LINE;
  }

  // Names at the ends of lines keep their distance in a plot that is lower than the one they were made for.
  function spreadEnds(layout) {
    const ends = layout.annotations ? layout.annotations.filter((label) => label.name === "end") : [];
    const step = LINE / (layout.height - layout.margin.t - layout.margin.b);
    ends.sort((a, b) => a.y - b.y);
    ends.forEach((label, place) => { if (place) label.y = Math.max(label.y, ends[place - 1].y + step); });
    const over = ends.length ? Math.max(ends[ends.length - 1].y - 1, 0) : 0;
    if (over) ends[ends.length - 1].y -= over;
    for (let place = ends.length - 2; place >= 0; place--) ends[place].y = Math.min(ends[place].y, ends[place + 1].y - step);
  }

  // Lower on paper, where two shall fit on a page.
  function fit(traces, layout, width, isOnPaper) {
    if (width < 460) narrowed(traces, layout, width);
    if (isOnPaper && !layout.meta && layout.height < 480 && !(layout.showlegend && traces.length > 7)) layout.height = Math.round(Math.max(Math.min(layout.height, 230), layout.height * 0.72));
    if (layout.showlegend) legendLines(traces, layout, width);
    if (layout.meta) return;
    levelTicks(layout, width);
    uprightTitle(layout);
    spreadEnds(layout);
  }

  return fit;
})();
