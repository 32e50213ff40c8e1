"use strict";
(() => {
  const table = document.getElementById("runs");
  document.addEventListener("click", event => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const words = button.parentElement.querySelector("code").textContent;
    const done = () => { button.textContent = "copied"; setTimeout(() => { button.textContent = "copy"; }, 1500); };
    const byHand = () => {
      const range = document.createRange();
      range.selectNodeContents(button.parentElement.querySelector("code"));
      const selection = getSelection();
      selection.removeAllRanges();
      selection.addRange(range);
      if (document.execCommand("copy")) done();
    };
    if (navigator.clipboard) navigator.clipboard.writeText(words).then(done, byHand); else byHand();
  });
  if (!table) return;
  const data = JSON.parse(document.getElementById("data").textContent);
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const words = document.getElementById("words");
  const status = document.getElementById("status");
  const emitter = document.getElementById("emitter");
  const count = document.getElementById("count");

  function element(name, kind, text) {
    const made = document.createElement(name);
    if (kind) made.className = kind;
    if (text !== undefined) made.textContent = text;
    return made;
  }
  function close(row) {
    const next = row.nextElementSibling;
    if (next && next.classList.contains("detail")) next.remove();
    row.querySelector(".more").setAttribute("aria-expanded", "false");
  }
  function open(row) {
    const one = data.runs[row.dataset.run];
    const line = element("tr", "detail");
    const cell = line.insertCell();
    cell.colSpan = 20;
    const facts = element("dl", "facts");
    for (const [name, value] of one.facts) facts.append(element("dt", "", name), element("dd", "", value));
    cell.append(facts);
    const diff = data.diffs[one.commit];
    if (diff) {
      const pre = element("pre", "diff");
      for (const text of diff.split("\n")) {
        const kind = text.startsWith("+") ? "add" : text.startsWith("-") ? "del" : text.startsWith("@") ? "at" : "";
        pre.append(element("span", kind, text || " "));
      }
      cell.append(pre);
    } else {
      cell.append(element("p", "say", one.nodiff));
    }
    for (const words of one.commands) {
      const box = element("div", "cmd");
      const code = element("code");
      for (const word of words.split(" ")) code.append(code.firstChild ? " " : "", element("span", "", word));
      const button = element("button", "", "copy");
      button.dataset.copy = "";
      box.append(code, button);
      cell.append(box);
    }
    row.after(line);
    row.querySelector(".more").setAttribute("aria-expanded", "true");
  }
  body.addEventListener("click", event => {
    const row = event.target.closest("tr[data-run]");
    if (!row || getSelection().toString()) return;
    const next = row.nextElementSibling;
    if (next && next.classList.contains("detail")) close(row); else open(row);
  });

  function filter() {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const fits = (!status.value || row.dataset.status === status.value)
        && (!emitter.value || row.dataset.emitter === emitter.value)
        && wanted.every(word => text.includes(word));
      if (!fits) close(row);
      row.hidden = !fits;
      shown += fits;
    }
    const all = `${rows.length} ${rows.length === 1 ? "run" : "runs"}`;
    count.textContent = shown === rows.length ? all : `${shown} of ${all}`;
  }
  for (const tool of [words, status, emitter]) tool.addEventListener("input", filter);

  table.tHead.addEventListener("click", event => {
    const button = event.target.closest("button");
    if (!button) return;
    const head = button.closest("th");
    const place = head.cellIndex;
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    rows.forEach(close);
    const value = row => {
      const cell = row.cells[place];
      return cell.dataset.v === undefined ? cell.textContent : cell.dataset.v === "" ? null : Number(cell.dataset.v);
    };
    const keyed = rows.map((row, index) => ({row, index, key: value(row)}));
    keyed.sort((a, b) => {
      if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.index - b.index;
      const order = typeof a.key === "string" ? a.key.localeCompare(b.key) : a.key - b.key;
      return (up ? order : -order) || a.index - b.index;
    });
    for (const {row} of keyed) body.append(row);
  });
  filter();
})();
