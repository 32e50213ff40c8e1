"use strict";
(() => {
  const $ = id => document.getElementById(id);
  const live = "live" in document.documentElement.dataset;

  // Times as the clock of whoever reads shows them.
  for (const time of document.querySelectorAll("time")) {
    const at = new Date(time.dateTime), two = number => String(number).padStart(2, "0");
    if (isNaN(at)) continue;
    const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} `;
    time.textContent = ("date" in time.dataset ? day : "") + `${two(at.getHours())}:${two(at.getMinutes())}`;
  }

  function element(name, kind, content) {
    const made = document.createElement(name);
    if (kind) made.className = kind;
    if (content !== undefined) made.textContent = content;
    return made;
  }

  document.addEventListener("click", event => {
    const opener = event.target.closest("[data-open]");
    if (opener) show(Number(opener.dataset.open));
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

  // One run, in a box above the page: what its row says, and what _details() in page.py adds.
  const data = JSON.parse($("data").textContent), box = $("run"), table = $("runs");
  const heads = table ? Array.from(table.tHead.rows[0].cells, cell => cell.textContent) : [];
  const cell = (number, name) => $("r" + number)?.cells[heads.indexOf(name)]?.firstChild?.textContent ?? "";
  let shown = 0;
  function facts(number) {
    const [, parent, commit, name, why, doubt, failure, changes, lines, emitter, touched, seed, size, begun, used] = data.runs[number - 1];
    const beside = (mine, its, unit) => mine && mine + unit + (parent && its ? ` (run #${parent}, its parent: ${its}${unit})` : "");
    const both = (head, unit = "") => beside(cell(number, head), parent && cell(parent, head), unit);
    const pairs = [
      ["val_bpb", cell(number, "val_bpb")], ["verdict", cell(number, "verdict")], ["why", why], ["not trusted", doubt],
      ["failure", failure], ["changed", changes], ["lines", lines], ["steps", both("steps")],
      ["speed", both("k tok/s", " thousand tokens a second")], ["memory", both("GB", " GB")],
      ["parameters", beside(size, parent && data.runs[parent - 1][12], " million")], ["took", both("min", " min")],
      ["idea from", emitter], ["idea took", used], ["part changed", touched], ["seed", String(seed)], ["started", begun], ["run", name], ["commit", commit],
    ];
    const list = element("dl", "facts");
    for (const [label, value] of pairs) if (value) list.append(element("dt", "", label), element("dd", "", value));
    return [element("h2", "", `#${number} ${cell(number, "what")}`), list];
  }
  function difference(number) {
    const [first, , commit] = data.runs[number - 1];
    if (data.diffs[commit]) {
      const lines = element("pre", "diff");
      lines.tabIndex = 0;
      for (const line of data.diffs[commit].split("\n")) {
        lines.append(element("span", {"+": "add", "-": "del", "@": "at"}[line[0]] || "", line || " "));
      }
      return lines;
    }
    return element("p", "soft", cell(number, "verdict") === "baseline" ? "The baseline: what everything is compared with."
      : first !== number ? `A replicate of run #${first}: the same code, measured again.`
      : "The difference is not in this page; the last command shows it.");
  }
  function command(line) {
    const made = element("div", "cmd"), code = element("code"), button = element("button", "", "copy");
    for (const word of line.split(" ")) code.append(code.firstChild ? " " : "", element("span", "", word));
    button.dataset.copy = "";
    made.append(code, button);
    return made;
  }
  function show(number) {
    if (!data.runs[number - 1]) return;
    shown = number;
    const [, , commit, name] = data.runs[number - 1];
    const lines = data.commands.filter(form => commit || !form.includes("{commit}"))
      .map(form => command(form.replace("{commit}", commit).replace("{run}", name)));
    $("body").replaceChildren(...facts(number), difference(number), ...lines);
    $("before").disabled = number === 1;
    $("after").disabled = number === data.runs.length;
    for (const row of document.querySelectorAll("#runs .last")) row.classList.remove("last");
    $("r" + number)?.classList.add("last");
    if (!box.open) box.showModal();
    box.scrollTop = 0;
  }
  $("before").addEventListener("click", () => show(shown - 1));
  $("after").addEventListener("click", () => show(shown + 1));
  box.addEventListener("keydown", event => {
    if (event.key === "ArrowLeft") show(shown - 1);
    if (event.key === "ArrowRight") show(shown + 1);
  });
  box.addEventListener("click", event => { if (event.target === box) box.close(); });

  // A tap on a chart opens the run whose mark is nearest: a mark is smaller than a finger.
  const REACH = 24;
  document.addEventListener("click", event => {
    const chart = event.target.closest("figure svg.chart");
    if (!chart) return;
    let nearest = null, least = REACH;
    for (const mark of chart.querySelectorAll("[data-run]")) {
      const at = mark.getBoundingClientRect();
      const far = Math.hypot(at.x + at.width / 2 - event.clientX, at.y + at.height / 2 - event.clientY);
      if (far < least) [nearest, least] = [mark, far];
    }
    if (nearest) show(Number(nearest.dataset.run));
  });

  if (table) {
    const body = table.tBodies[0], rows = Array.from(body.rows), number = row => Number(row.id.slice(1));
    const [words, status, count, more] = ["words", "status", "count", "more"].map($);
    for (const row of rows) {
      const button = element("button", "", row.cells[0].textContent);
      row.cells[0].replaceChildren(button);
    }
    let all = rows.length <= 25;
    body.addEventListener("click", event => {
      const row = event.target.closest("tr");
      if (row && !getSelection().toString()) show(number(row));
    });
    const filter = () => {
      const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
      let fitting = 0;
      for (const row of rows) {
        const [, , commit, name, , , , , , emitter, touched] = data.runs[number(row) - 1];
        const content = `${commit} ${name} ${emitter} ${touched} ${row.textContent}`.toLowerCase();
        row.hidden = (status.value && row.dataset.status !== status.value) || !wanted.every(word => content.includes(word));
        fitting += !row.hidden;
      }
      const isWhole = fitting === rows.length;
      table.classList.toggle("short", isWhole && !all);
      more.hidden = all || !isWhole;
      count.textContent = isWhole ? "" : `${fitting} of ${rows.length} runs`;
    };
    for (const tool of [words, status]) tool.addEventListener("input", filter);
    more.addEventListener("click", () => { all = true; filter(); });

    const sortKey = cell => {
      const content = cell.textContent, value = Number(content.replace("−", "-"));
      return content === "" ? null : Number.isNaN(value) ? content : value;
    };
    table.tHead.addEventListener("click", event => {
      const button = event.target.closest("button");
      if (!button) return;
      const head = button.closest("th"), up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
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
  }
  const follow = () => { if (/^#r\d+$/.test(location.hash)) show(Number(location.hash.slice(2))); };
  addEventListener("hashchange", follow);
  follow();
  addEventListener("beforeprint", () => { for (const one of document.querySelectorAll("details")) one.open = true; });

  // While a night goes on the page renews itself, unless somebody is reading a run or typing.
  if (live) {
    const stale = $("stale"), made = new Date(document.querySelector(".state time:last-of-type").dateTime);
    const place = "autoresearch" + location.pathname;
    try {
      const open = JSON.parse(sessionStorage.getItem(place) || "[]");
      document.querySelectorAll("details").forEach((one, index) => { one.open = open.includes(index); });
    } catch { /* a page opened from a file may have no storage */ }
    const isBusy = () => box.open || getSelection().toString() || ["INPUT", "SELECT"].includes(document.activeElement.tagName)
      || (table && table.querySelector("tr[hidden]"));
    const renew = () => {
      try {
        const open = Array.from(document.querySelectorAll("details")).flatMap((one, index) => one.open ? [index] : []);
        sessionStorage.setItem(place, JSON.stringify(open));
      } catch { /* as above */ }
      location.reload();
    };
    setInterval(() => {
      stale.hidden = (Date.now() - made) / 1000 < Number(stale.dataset.after);
      if (isBusy()) return;
      if (location.protocol === "file:") return renew();
      // Served: only when there is something new, and never to a page of errors when the server is gone.
      fetch(location.href, {method: "HEAD", cache: "no-store"}).then(reply => {
        if (reply.ok && new Date(reply.headers.get("Last-Modified")) > new Date(document.lastModified)) renew();
      }, () => {});
    }, 1000 * data.refresh_s);
  }
})();
