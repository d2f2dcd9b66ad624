//<![CDATA[
"use strict";
(function () {
  var root = document.documentElement, NS = "http://www.w3.org/2000/svg";
  document.getElementById("theme").addEventListener("click", function () {
    var dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  addEventListener("beforeprint", function () {
    document.querySelectorAll("details").forEach(function (d) { d.open = true; });
  });
  function three(v) { return String(Number(v.toPrecision(3))); }
  function words(v, unit) {
    if (unit === "ns") {
      return v < 999.5 ? Math.round(v) + " ns" : v < 999.5e3 ? three(v / 1e3) + " µs" : v < 999.5e6 ? three(v / 1e6) + " ms" : three(v / 1e9) + " s";
    }
    if (unit === "s") { return (v / 1e9).toFixed(2) + " s"; }
    if (unit === "ops") { return Math.round(v).toLocaleString("en") + "/s"; }
    if (unit === "n") { return Math.round(v).toLocaleString("en"); }
    if (unit === "pct") { return Number((100 * (1 - 1 / v)).toFixed(v < 1e3 ? 2 : 6)) + "%"; }
    return v < 1048576 ? three(v / 1024) + " KiB" : v < 1073741824 ? three(v / 1048576) + " MiB" : three(v / 1073741824) + " GiB";
  }
  function make(parent, name, attrs, text) {
    var e = document.createElementNS(NS, name);
    Object.keys(attrs).forEach(function (k) { e.setAttribute(k, attrs[k]); });
    if (text) { e.textContent = text; }
    parent.appendChild(e);
    return e;
  }
  document.querySelectorAll("svg[data-chart]").forEach(function (svg) {
    var c = JSON.parse(svg.dataset.chart), hover = svg.querySelector(".hover"), hidden = {};
    var left = c.box[0], right = c.box[1], top = c.box[2], bottom = c.box[3];
    c.lines.forEach(function (l) {
      var f = l.p.split(" ");
      l.xs = []; l.ys = [];
      for (var i = 0; i + 1 < f.length; i += 2) { l.xs.push(Number(f[i])); l.ys.push(f[i + 1] === "-" ? NaN : Number(f[i + 1])); }
    });
    function share(v, range, log) {
      var s = log ? Math.log(Math.max(v, range[0]) / range[0]) / Math.log(range[1] / range[0]) : (v - range[0]) / (range[1] - range[0]);
      return Math.min(Math.max(s, 0), 1);
    }
    function X(v) { return left + share(v, c.x, c.xlog) * (right - left); }
    function Y(v) { return bottom - share(v, c.y, c.ylog) * (bottom - top); }
    function clear() { hover.replaceChildren(); }
    svg.addEventListener("pointerleave", clear);
    svg.addEventListener("pointermove", function (event) {
      clear();
      var m = svg.getScreenCTM();
      if (!m) { return; }
      var at = new DOMPoint(event.clientX, event.clientY).matrixTransform(m.inverse()).x;
      if (at < left || at > right) { return; }
      var found = [], cursor = null;
      c.lines.forEach(function (l, i) {
        if (hidden[i]) { return; }
        var best = 0, distance = Infinity;
        l.xs.forEach(function (x, k) {
          var d = Math.abs(X(x) - at);
          if (d < distance) { distance = d; best = k; }
        });
        if (distance > 40) { return; }
        if (cursor === null || distance < cursor.d) { cursor = { d: distance, x: l.xs[best] }; }
        found.push({ l: l, x: l.xs[best], y: l.ys[best] });
      });
      if (!found.length) { return; }
      var px = X(cursor.x), lines = [words(cursor.x, c.xu)];
      make(hover, "line", { "class": "cursor", x1: px, x2: px, y1: top, y2: bottom });
      found.forEach(function (f) {
        if (isNaN(f.y)) { lines.push(f.l.n + ": none"); return; }
        make(hover, "circle", { "class": "mark s" + f.l.c, cx: X(f.x), cy: Y(f.y), r: 4 });
        lines.push(f.l.n + ": " + words(f.y, c.yu));
      });
      var tip = make(hover, "g", { "class": "tip" });
      var box = make(tip, "rect", { rx: 4, y: top + 16, height: 10 + 16 * lines.length });
      var width = 0;
      var texts = lines.map(function (t, i) {
        var e = make(tip, "text", { y: top + 32 + 16 * i }, t);
        width = Math.max(width, e.getComputedTextLength());
        return e;
      });
      var x0 = px + 10 + width + 16 > right ? px - width - 26 : px + 10;
      box.setAttribute("x", x0);
      box.setAttribute("width", width + 16);
      texts.forEach(function (e) { e.setAttribute("x", x0 + 8); });
    });
    var legend = svg.parentNode.querySelector(".legend");
    if (legend) {
      legend.addEventListener("click", function (event) {
        var b = event.target.closest("button");
        if (!b) { return; }
        var i = b.dataset.line, off = b.classList.toggle("off");
        hidden[i] = off;
        svg.querySelector("path[data-line='" + i + "']").style.display = off ? "none" : "";
        clear();
      });
    }
  });
})();
//]]>
