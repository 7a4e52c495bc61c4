// The labels file of a skill of one's own: video,start_s,end_s,label and, where there are any, split.

const COLUMNS = ["video", "start_s", "end_s", "label"];
const SPLITS = ["train", "val", "test"];

export function toCsv(labels) {
  const columns = labels.some(({ split }) => split) ? [...COLUMNS, "split"] : COLUMNS;
  const rows = [columns, ...labels.map((one) => columns.map((name) => quoted(one[name] ?? "train")))];
  return rows.map((row) => row.join(",")).join("\r\n") + "\r\n";
}

export function fromCsv(text) {
  const [header, ...rows] = parse(text.replace(/^\ufeff/, ""));
  const names = (header?.cells ?? []).map((cell) => cell.trim());
  const isKnown = COLUMNS.every((name) => names.includes(name))
    && names.every((name) => [...COLUMNS, "split"].includes(name)) && new Set(names).size === names.length;
  if (!isKnown) {
    throw new Error(`line 1: expected the columns ${COLUMNS.join(", ")} and, if wanted, split; `
      + `got ${names.join(", ") || "nothing"}`);
  }
  return rows.map(({ cells, line }) => rowOf(names, cells, line));
}

function rowOf(names, cells, line) {
  const wrong = (name, allowed) => new Error(`line ${line}, column ${name}: expected ${allowed}, got `
    + `${JSON.stringify(row[name])}`);
  if (cells.length !== names.length) {
    throw new Error(`line ${line}: expected ${names.length} values, got ${cells.length}; a label with `
      + "a comma stands in double quotes");
  }
  const row = Object.fromEntries(names.map((name, k) => [name, unmarked(cells[k].trim())]));
  const seconds = (name) => {
    const value = row[name] === "" ? NaN : Number(row[name]);
    if (!(Number.isFinite(value) && value >= 0)) throw wrong(name, "seconds from the video's start");
    return value;
  };
  const label = { video: row.video, start_s: seconds("start_s"), end_s: seconds("end_s"),
    label: row.label };
  if (!row.video || /[/\0]/.test(row.video)) throw wrong("video", "a file's name without its ending");
  if (label.end_s <= label.start_s) throw wrong("end_s", `more than start_s (${label.start_s})`);
  if (!row.label) throw wrong("label", "a name");
  if (!names.includes("split")) return label;
  if (!SPLITS.includes(row.split)) throw wrong("split", `one of ${SPLITS.join(", ")}`);
  return { ...label, split: row.split };
}

// A spreadsheet would compute text that begins so; a quote before it marks it as text, and is taken
// off again.
const MARKED = /^'*[=+\-@\t\r\n]/;
const isFormula = (text) => MARKED.test(text) && Number.isNaN(Number(text));

function quoted(value) {
  const text = typeof value === "string" && isFormula(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) || text !== text.trim() ? `"${text.replaceAll('"', '""')}"` : text;
}

const unmarked = (text) => (text.startsWith("'") && isFormula(text) ? text.slice(1) : text);

// Records of cells with the line on which each begins; empty lines are none.
function parse(text) {
  const records = [];
  let [cells, cell, line, from] = [[], "", 1, 1];
  const close = () => {
    if (cells.length || cell) records.push({ cells: [...cells, cell], line: from });
    [cells, cell, from] = [[], "", line];
  };
  for (const [part] of text.matchAll(/"(?:[^"]|"")*"?|\r\n|[,\r\n]|[^",\r\n]+/g)) {
    if (part === ",") {
      cells.push(cell);
      cell = "";
    } else if (/^[\r\n]/.test(part)) {
      line += 1;
      close();
    } else if (part.startsWith('"')) {
      if (part.length < 2 || !part.endsWith('"')) throw new Error(`line ${line}: a quote is not closed`);
      cell += part.slice(1, -1).replaceAll('""', '"');
      line += part.split("\n").length - 1;
    } else cell += part;
  }
  close();
  return records;
}
