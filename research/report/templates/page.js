"use strict";
(() => {
  const table = document.getElementById("runs");

  document.addEventListener("click", event => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const code = button.parentElement.querySelector("code");
    const done = () => { button.textContent = "copied"; setTimeout(() => { button.textContent = "copy"; }, 1500); };
    const byHand = () => {
      const range = document.createRange();
      range.selectNodeContents(code);
      const selection = getSelection();
      selection.removeAllRanges();
      selection.addRange(range);
      if (document.execCommand("copy")) done();
    };
    if (navigator.clipboard) navigator.clipboard.writeText(code.textContent).then(done, byHand); else byHand();
  });
  if (!table) return;

  const data = JSON.parse(document.getElementById("data").textContent);
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const [words, status, emitter, count] = ["words", "status", "emitter", "count"].map(id => document.getElementById(id));
  const NUMBER = 0, VERDICT = 3, EMITTER = 5, TOUCHED = 6;
  const text = (row, place) => row.cells[place].textContent;

  function element(name, kind, content) {
    const made = document.createElement(name);
    if (kind) made.className = kind;
    if (content !== undefined) made.textContent = content;
    return made;
  }

  // What a row unfolds to; the fields are those of details() in page.py.
  function facts(row, run) {
    const [, commit, name, why, doubt, failure, changes, lines, change, chance, size, seed, started] = run;
    const list = element("dl", "facts");
    const pairs = [
      ["why", why], ["not trusted", doubt], ["failure", failure], ["changed", changes], ["lines", lines],
      ["change", change && `${change} against the best of the time`], ["P(better)", chance], ["emitter", text(row, EMITTER)], ["touched", text(row, TOUCHED)],
      ["size", size && `${size} M parameters`], ["run", name], ["commit", commit], ["seed", String(seed)], ["started", started],
    ];
    for (const [label, value] of pairs) if (value) list.append(element("dt", "", label), element("dd", "", value));
    return list;
  }
  function difference(row, [first, commit]) {
    if (data.diffs[commit]) {
      const box = element("pre", "diff");
      for (const line of data.diffs[commit].split("\n")) {
        box.append(element("span", {"+": "add", "-": "del", "@": "at"}[line[0]] || "", line || " "));
      }
      return box;
    }
    if (first !== Number(text(row, NUMBER))) {
      return element("p", "say", `A replicate of run ${first}: the same code with another seed.`);
    }
    const isBaseline = text(row, VERDICT) === "baseline";
    return element("p", "say", isBaseline ? "The baseline: what everything is compared with."
      : "The difference is not in this page; the last command shows it.");
  }
  function command(line) {
    const box = element("div", "cmd"), code = element("code"), button = element("button", "", "copy");
    for (const word of line.split(" ")) code.append(code.firstChild ? " " : "", element("span", "", word));
    button.dataset.copy = "";
    box.append(code, button);
    return box;
  }
  const isOpen = row => row.nextElementSibling && row.nextElementSibling.classList.contains("detail");
  const mark = (row, open) => row.querySelector("button").setAttribute("aria-expanded", String(open));
  function close(row) {
    if (isOpen(row)) row.nextElementSibling.remove();
    mark(row, false);
  }
  function open(row) {
    const run = data.runs[Number(text(row, NUMBER)) - 1];
    const line = element("tr", "detail"), cell = line.insertCell();
    cell.colSpan = row.cells.length;
    cell.append(facts(row, run), difference(row, run));
    const [, commit, name] = run;
    for (const form of data.commands) {
      if (commit || !form.includes("{commit}")) {
        cell.append(command(form.replace("{commit}", commit.slice(0, 12)).replace("{run}", name)));
      }
    }
    row.after(line);
    mark(row, true);
  }
  for (const row of rows) {
    const button = element("button", "", "diff");
    button.setAttribute("aria-expanded", "false");
    row.cells[row.cells.length - 1].append(button);
  }
  body.addEventListener("click", event => {
    const row = event.target.closest("tr[id]");
    if (!row || getSelection().toString()) return;
    if (isOpen(row)) close(row); else open(row);
  });

  function filter() {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const content = row.textContent.toLowerCase();
      const fits = (!status.value || row.dataset.status === status.value)
        && (!emitter.value || text(row, EMITTER) === emitter.value)
        && wanted.every(word => content.includes(word));
      if (!fits) close(row);
      row.hidden = !fits;
      shown += fits;
    }
    const all = `${rows.length} ${rows.length === 1 ? "run" : "runs"}`;
    count.textContent = shown === rows.length ? all : `${shown} of ${all}`;
  }
  for (const tool of [words, status, emitter]) tool.addEventListener("input", filter);

  // A mark of a chart leads to its run's row, which unfolds.
  function follow() {
    const row = /^#r\d+$/.test(location.hash) && document.getElementById(location.hash.slice(1));
    if (!row) return;
    if (row.hidden) {
      words.value = status.value = emitter.value = "";
      filter();
    }
    if (!isOpen(row)) open(row);
    row.scrollIntoView({block: "center"});
  }
  addEventListener("hashchange", follow);

  function sortKey(cell) {
    const content = cell.textContent;
    if (content === "" || content === "–") return null;
    const number = Number(content.replace("−", "-"));
    return Number.isNaN(number) ? content : number;
  }
  table.tHead.addEventListener("click", event => {
    const button = event.target.closest("button");
    if (!button) return;
    const head = button.closest("th");
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    rows.forEach(close);
    const keyed = rows.map((row, index) => ({row, index, key: sortKey(row.cells[head.cellIndex])}));
    keyed.sort((a, b) => {
      // What has no value comes last, whichever way.
      if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.index - b.index;
      const numbers = typeof a.key === "number" && typeof b.key === "number";
      const order = numbers ? a.key - b.key : String(a.key).localeCompare(String(b.key));
      return (up ? order : -order) || a.index - b.index;
    });
    for (const {row} of keyed) body.append(row);
  });

  filter();
  follow();
})();
