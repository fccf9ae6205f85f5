"use strict";
// What the page does to a figure with `layout.meta` before it is drawn: puts the rows of a heatmap into the order that was asked for, offers the
// two orders on its card, and fits it to a narrow screen. The other order is made in Python; here rows only change places.
function scaleprofHeatmap(plot, traces, layout, width, redraw) {
  const meta = layout.meta, cells = traces.find((trace) => trace.type === "heatmap");
  if (!cells || !meta.rows) return;
  const rowLabels = layout.annotations.filter((label) => label.name === "row");
  if (meta.order) offerOrders();
  if (meta.order && plot.dataset.order === "sorted") sortRows();
  if (!cells.text) {
    cells.text = meta.rows.map((row) => meta.columns.map((column) => row + ", " + column));
    cells.hovertemplate = "%{text}: " + cells.hovertemplate;
  }
  if (width < 460) (cells.texttemplate ? narrowTable : narrowCells)();
  else if (cells.texttemplate) fitNumbers((width - layout.margin.l - layout.margin.r) / meta.columns.length);

  function sortRows() {
    const order = meta.order, place = [];
    order.forEach((old, at) => { place[old] = at; });
    const moved = (values) => values && order.map((old) => values[old]);
    for (const name of ["z", "text", "customdata"]) cells[name] = moved(cells[name]);
    meta.rows = moved(meta.rows);
    meta.ranks = moved(meta.ranks);
    for (const trace of traces) if (trace !== cells && trace.meta !== "columns") trace.y = trace.y.map((old) => place[old]);
    for (const label of rowLabels) label.y = place[label.y];
    layout.yaxis.ticktext = layout.yaxis.tickvals.map((at) => meta.rows[at]);
  }

  function offerOrders() {
    const caption = plot.parentElement.querySelector("figcaption");
    if (caption.querySelector(".orders")) return;
    const group = caption.appendChild(document.createElement("div"));
    group.className = "orders";
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "Order of the rows");
    for (const [order, name] of [["", "By rank"], ["sorted", "Slowest first"]]) {
      const button = group.appendChild(document.createElement("button"));
      button.className = "small";
      button.textContent = name;
      button.setAttribute("aria-pressed", String((plot.dataset.order || "") === order));
      button.addEventListener("click", () => {
        plot.dataset.order = order;
        for (const other of group.children) other.setAttribute("aria-pressed", String(other === button));
        redraw();
      });
    }
  }

  // Fewer ticks, which lie level, and no gaps between columns; labels of cells keep their number only.
  function narrowCells() {
    const bar = cells.colorbar, margin = layout.margin;
    bar.tickvals = [cells.zmin, 0, cells.zmax];
    bar.ticktext = bar.tickvals.map((value) => String(Number(value.toPrecision(2))).replace("-", "−") + bar.ticksuffix);
    cells.xgap = meta.columns.length > 20 ? 0 : cells.xgap;
    margin.r = Math.min(margin.r, 66);
    if (layout.xaxis2) layout.xaxis2.showticklabels = false;
    for (const label of layout.annotations) if (label.name === "scale") label.text = label.text.replace(/<br>.*$/, "").replace(/^(.{8,}?) /, "$1<br>");
    const every = Math.ceil(layout.xaxis.tickvals.length / 5);
    for (const name of ["tickvals", "ticktext"]) layout.xaxis[name] = layout.xaxis[name].filter((_, place) => place % every === 0);
    for (const label of rowLabels) label.text = label.xref === "paper" ? label.text.replace(": ", "<br>") : label.text.replace(/^.*: /, "");
  }

  // Numbers lose their unit, then size, then their decimals, and where not even those of a percent have room, themselves.
  function fitNumbers(column) {
    const font = cells.textfont, bare = (form) => { cells.text = cells.text.map((row) => row.map(form)); };
    const fits = (letters) => letters * font.size * 0.58 + 3 <= column;
    if (fits(7)) return;
    bare((text) => text.replace(/\s%$/, ""));
    if (!fits(5)) font.size = 9;
    if (!fits(5)) bare((text) => (text && String(Math.round(Number(text)))));
    if (!fits(3)) font.size = 7.5;
    if (!fits(3)) cells.texttemplate = "";
  }

  // Names take two lines in a third of the width.
  function narrowTable() {
    const margin = layout.margin, left = Math.min(margin.l, Math.round(width * 0.37));
    margin.r = 8;
    for (const label of layout.annotations) {
      const indent = label.xshift + margin.l - 8;
      label.xshift = 2 + indent * 0.6 - left;
      label.font.size = 10.5;
      if (label.text.replace(/<\/?b>/g, "").length > 16) label.text = scaleprofShared.inTwoLines(label.text);
    }
    const column = (width - left - margin.r) / meta.columns.length;
    margin.l = left;
    fitNumbers(column);
    if (!layout.xaxis.tickangle) return;
    // Slanted heads stand upright here.
    const top = Math.max(...layout.xaxis.ticktext.map((head) => head.length)) * 6.5 + 12;
    layout.height += top - margin.t;
    margin.t = top;
    layout.xaxis.tickangle = -90;
  }
}
