(function () {
  "use strict";
  var data = JSON.parse(document.getElementById("data").textContent);
  // Okabe-Ito order, told apart by people with any colour vision.
  var colours = ["#0b5d8f", "#e08e0b", "#6fb1d8", "#00876c", "#c46a9b", "#8a6d3b", "#5b3f87", "#b4470f", "#9aa5b1"];
  var narrow = window.innerWidth < 640;
  var config = { displayModeBar: false, responsive: true };
  var font = { family: getComputedStyle(document.body).fontFamily, size: narrow ? 11 : 12.5, color: "#3b4653" };

  function layout(more) {
    var base = {
      font: font, paper_bgcolor: "#fff", plot_bgcolor: "#fff", hovermode: "x unified",
      margin: { l: narrow ? 46 : 60, r: 12, t: 30, b: 44 }, showlegend: true,
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", traceorder: "normal", font: { size: font.size } },
      hoverlabel: { bgcolor: "#fff", bordercolor: "#b9c2cc", font: { size: 12, color: "#17202b" } },
      xaxis: { type: "date", showgrid: false, linecolor: "#b9c2cc", ticks: "outside", tickcolor: "#b9c2cc", ticklen: 4,
        tickformatstops: [{ dtickrange: [null, 43200000], value: "%H:%M\n%-d %b" }, { dtickrange: [43200000, null], value: "%-d %b" }],
        hoverformat: "%a %-d %b %H:%M", nticks: narrow ? 4 : 12 },
      yaxis: { gridcolor: "#e8ecf0", zeroline: false, rangemode: "tozero", nticks: 6 }
    };
    Object.keys(more).forEach(function (key) { var value = more[key];
      base[key] = value && typeof value === "object" ? Object.assign({}, base[key] || {}, value) : value; });
    return base;
  }
  function title(text) { return { text: text, standoff: 8, font: { size: font.size, color: font.color } }; }
  // Plotly reads a small set of tags in text; names are data, so they get none.
  function plainText(text) {
    return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  }
  function shorten(text, limit) { return text.length > limit ? text.slice(0, limit - 1) + "…" : text; }
  function dates(row) { return row.time.map(function (t) { return new Date(t).toISOString().slice(0, 19); }); }
  function draw(id, traces, more) { Plotly.react(id, traces, layout(more), config); }

  function stacked(row, series, format) {
    var x = dates(row), names = Object.keys(series);
    return names.map(function (name, k) {
      var colour = colours[k % colours.length];
      return { x: x, y: series[name], name: plainText(shorten(name, 40)), stackgroup: "all", mode: "lines",
        line: { width: 0, shape: "hv" }, fillcolor: colour, marker: { color: colour }, hovertemplate: format };
    });
  }
  function cost(row) {
    draw("chart-cost", stacked(row, row.pools, "$%{y:,.2f}/h"), { yaxis: { tickprefix: "$" } });
  }
  function nodes(row) {
    draw("chart-nodes", stacked(row, row.types, "%{y:,.1f}"), { yaxis: { tickformat: ",d" } });
  }
  function load(row, name) {
    var one = row.workloads[name], x = dates(row);
    if (!one) { return; }
    draw("chart-load", [
      { x: x, y: one.capacity, name: "capacity", mode: "lines", line: { color: "#8fb9d6", width: 1, shape: "hv" },
        fill: "tozeroy", fillcolor: "rgba(111,177,216,.28)", hovertemplate: "%{y:,.0f}/s" },
      { x: x, y: one.load, name: "load", mode: "lines", line: { color: "#17202b", width: 1.6 }, hovertemplate: "%{y:,.0f}/s" },
      { x: x, y: one.bad, name: "bad requests", type: "bar", marker: { color: "#b4470f" }, yaxis: "y2", hovertemplate: "%{y:,.2f}/s" }
    ], {
      yaxis: { domain: [0.3, 1], title: title("requests/s") },
      yaxis2: { domain: [0, 0.2], gridcolor: "#e8ecf0", rangemode: "tozero", nticks: 3, zeroline: false, title: title("bad/s") },
      xaxis: { anchor: "y2" }
    });
  }
  function scatter() {
    var points = data.scatter, floor = 0.1, few = points.length <= 10;
    var y = points.map(function (p) { return Math.max(p.bad, floor); });
    var low = Math.log10(Math.min.apply(null, y)), high = Math.log10(Math.max.apply(null, y));
    var x = points.map(function (p) { return p.usd; });
    var left = Math.min.apply(null, x), right = Math.max.apply(null, x), room = Math.max(right - left, right * 0.05);
    // Each label takes the first place beside its point that is free; one that finds none is left to the pointer.
    var across = x.map(function (v) { return (v - left) / room; });
    var up = y.map(function (v) { return Math.log10(v) / Math.max(high - low, 1); });
    var taken = points.map(function (p, k) { return [across[k] - 0.02, across[k] + 0.02, up[k] - 0.02, up[k] + 0.02]; });
    var places = [];
    var labels = points.map(function (p, k) {
      var text = shorten(p.label, narrow ? 22 : 30), wide = text.length * (narrow ? 0.03 : 0.022), a = across[k], u = up[k];
      var right = ["middle right", [a + 0.03, a + 0.03 + wide, u - 0.025, u + 0.025]];
      var lefts = ["middle left", [a - 0.03 - wide, a - 0.03, u - 0.025, u + 0.025]];
      var over = ["top center", [a - wide / 2, a + wide / 2, u + 0.03, u + 0.09]];
      var under = ["bottom center", [a - wide / 2, a + wide / 2, u - 0.09, u - 0.03]];
      var order = a > 0.5 ? [lefts, over, under, right] : [right, over, under, lefts];
      var found = few && order.find(function (o) {
        return o[1][0] > -0.25 && o[1][1] < 1.25 && taken.every(function (t, n) {
          return n === k || o[1][1] < t[0] || o[1][0] > t[1] || o[1][3] < t[2] || o[1][2] > t[3];
        });
      });
      places.push(found ? found[0] : "middle right");
      if (found) { taken.push(found[1]); }
      return found ? plainText(text) : "";
    });
    draw("chart-scatter", [{
      x: x, y: y, mode: few ? "markers+text" : "markers", cliponaxis: false, text: labels,
      hovertext: points.map(function (p) { return plainText(p.label); }),
      customdata: points.map(function (p) { return p.slos; }),
      textposition: places,
      marker: { size: 11, color: points.map(function (p, k) { return k ? "#0b5d8f" : "#17202b"; }) },
      textfont: { size: font.size },
      hovertemplate: "<b>%{hovertext}</b><br>$%{x:,.0f} for 30 days<br>%{y:,.3g} bad per million<br>%{customdata}<extra></extra>"
    }], {
      hovermode: "closest", showlegend: false, margin: { t: 12, b: 50, l: narrow ? 62 : 74 },
      xaxis: { type: "linear", tickprefix: "$", tickformat: ",.0f", title: title("cost of 30 days"), nticks: 5,
        range: [left - 0.15 * room, right + 0.15 * room], tickformatstops: [], hoverformat: "" },
      yaxis: { type: "log", title: title("bad requests per million"), rangemode: "normal", dtick: 1,
        tickformat: ",~g", range: [Math.floor(low - 0.15), Math.ceil(high + 0.15)] }
    });
  }

  var rowPicker = document.getElementById("row"), workloadPicker = document.getElementById("workload");
  data.workloads.forEach(function (name) {
    var option = document.createElement("option");
    option.value = name;
    option.textContent = name;
    workloadPicker.appendChild(option);
  });
  function show() {
    var row = data.rows[+rowPicker.value];
    cost(row);
    nodes(row);
    load(row, workloadPicker.value);
    document.querySelectorAll(".which").forEach(function (node) { node.textContent = row.label; });
    document.querySelectorAll(".worst").forEach(function (node) { node.hidden = node.dataset.row !== rowPicker.value; });
  }
  rowPicker.addEventListener("change", show);
  workloadPicker.addEventListener("change", show);
  scatter();
  show();
  // A printer's page has another width than the window.
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll(".chart").forEach(function (node) { Plotly.Plots.resize(node); });
  });
})();
