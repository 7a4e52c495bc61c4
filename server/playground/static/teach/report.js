// What is known of a taught skill: how often it is right, what it mixes up, what more labels would bring.

import { VOTERS } from "../answers/segment.js";
import { drawing, element, percent, renew } from "../dom.js";

const BY = { "cross-validation": "each label was answered by a skill taught from others",
  val: "on the labels held out as val", test: "on the labels held out as test" };

// `onserve(threshold)` is asked for when the slider's threshold is to be served.
export function showReport(root, report, { onserve }) {
  renew(root,
    element("h3", {}, `${report.name}, version ${report.version}`),
    accuracy(report), none(report.none),
    element("div", { class: "cards" },
      card("What it takes for what", confusion(report)),
      card("What more labels would bring", curve(report)),
      card("How sure it has to be", thresholds(report, onserve)),
      card("Who votes", voters(report.voters ?? []))),
    (report.notes ?? []).map((note) => element("p", { class: "note" }, note)));
}

const card = (title, content) => content
  && element("div", { class: "card" }, element("h4", {}, title), content);

function accuracy({ accuracy: found, held_out_by: by, words }) {
  if (!found) return element("p", {}, words);
  const { right, held_out: all, share, low, high, frequent, head_right: head } = found;
  return element("div", {},
    element("p", { class: "big", id: "accuracy" }, `${right} of ${all} right, ${percent(share)}`),
    element("p", {}, `With 95 % confidence it is right in ${percent(low)} to ${percent(high)}; always `
      + `saying the most frequent label would be in ${percent(frequent)}. ${verdict(found)}`),
    element("p", { class: "note" }, `${BY[by] ? `Held out: ${BY[by]}` : words}. The plain head alone `
      + `gets ${head} right.`));
}

function verdict({ low, share, frequent }) {
  if (low > frequent) return "It has learnt something.";
  return share > frequent ? "That may be luck: more labels would tell." : "It has learnt nothing yet.";
}

function none(found) {
  if (!found) return null;
  return element("p", {}, `None of these (${found.label}): ${found.right} of ${found.held_out} are told `
    + `from the others, and ${found.mistaken} of ${found.others} others are taken for it.`);
}

function confusion({ confusion: found }) {
  const all = found.counts.flat().reduce((sum, count) => sum + count, 0);
  if (!all) return element("p", { class: "note" }, "Nothing was held out.");
  const cells = (counts, truth) => {
    const most = counts.reduce((sum, count) => sum + count, 0) || 1;
    return counts.map((count, k) => {
      const cell = element("td", { class: k === truth ? "cell right" : "cell" }, String(count));
      cell.style.setProperty("--share", String(count / most));
      return cell;
    });
  };
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Confusion" },
    element("table", { class: "confusion" },
      element("caption", {}, "Rows: your label. Columns: its answer."),
      element("thead", {}, element("tr", {}, element("td"),
        found.labels.map((label) => element("th", { scope: "col" }, label)))),
      element("tbody", {}, found.counts.map((counts, k) => element("tr", {},
        element("th", { scope: "row" }, found.labels[k]), cells(counts, k))))));
}

function curve({ curve: points = [], forecast }) {
  if (!points.length) return element("p", { class: "note" }, "Too few labels to draw a curve.");
  const all = forecast ? [...points, forecast] : points;
  const x = (labels) => (100 * labels) / all.at(-1).labels;
  const y = (share) => 60 - 60 * share;
  const line = (which) => which.map((one) => `${x(one.labels)},${y(one.accuracy)}`).join(" ");
  const band = [...all.map((one) => `${x(one.labels)},${y(one.high)}`),
    ...all.toReversed().map((one) => `${x(one.labels)},${y(one.low)}`)].join(" ");
  const said = (one) => `${one.labels} labels: ${percent(one.accuracy)} `
    + `(${percent(one.low)} to ${percent(one.high)})`;
  return element("div", {},
    drawing("svg", { viewBox: "0 0 100 60", preserveAspectRatio: "none", class: "curve", role: "img",
      "aria-label": all.map(said).join("; ") },
    drawing("polygon", { points: band }), drawing("polyline", { points: line(points) }),
    forecast && drawing("polyline", { class: "likely", points: line([points.at(-1), forecast]) })),
    element("p", { class: "note" }, `${said(points[0])}. ${points.length > 1
      ? `${said(points.at(-1))}. ` : ""}`),
    forecast && element("p", {}, `With ${forecast.labels} labels likely ${percent(forecast.accuracy)}, `
      + `between ${percent(forecast.low)} and ${percent(forecast.high)}.`));
}

function thresholds({ thresholds: rows, threshold }, onserve) {
  if (!rows?.length) return element("p", { class: "note" }, "Nothing was held out.");
  const said = element("output", { for: "threshold" });
  const slider = element("input", { type: "range", id: "threshold", min: "0", step: "1",
    max: String(rows.length - 1), "aria-label": "Least probability that counts as certain",
    oninput: () => say() });
  const say = () => {
    const { threshold: least, answered, precision, recall } = rows[Number(slider.value)];
    slider.setAttribute("aria-valuetext", percent(least));
    said.textContent = `From ${percent(least)} on: certain of ${percent(answered)} of the labels, and `
      + `${precision === null ? "none of them is right" : `right in ${percent(precision)} of these `
        + "(precision)"}; ${percent(recall)} of all are certain and right (recall).`;
  };
  const set = rows.findLastIndex((row) => row.threshold <= (threshold ?? 0) + 1e-9);
  slider.value = String(Math.max(0, set));
  say();
  return element("div", { class: "stack" }, slider, said, element("button", { type: "button",
    id: "serve-threshold", onclick: () => onserve(rows[Number(slider.value)].threshold) },
  "Serve it with this"));
}

function voters(list) {
  const most = Math.max(...list.map(({ weight }) => weight), 1e-9);
  return element("div", { class: "ranked" }, list.map(({ name, weight, about }) =>
    element("div", { class: "bar", title: about }, element("span", { class: "fill",
      style: { width: `${(100 * weight) / most}%` } }),
    element("span", {}, VOTERS[name] ?? name, element("span", { class: "sr" }, `: ${about}`)),
    element("span", { class: "value" }, weight.toFixed(2)))));
}
