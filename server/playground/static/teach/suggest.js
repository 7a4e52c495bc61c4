// What to label next: stretches on which the voters disagree most, or that are unlike all labels.

import { clock, element, percent } from "../dom.js";

// `ongo(segment)` goes to a stretch.
export function showSuggestions(root, segments, { ongo }) {
  root.replaceChildren(element("h3", {}, "What to label next"), segments.length
    ? element("ol", { class: "clips" }, segments.map((one) => element("li", {},
      element("button", { type: "button", onclick: () => ongo(one) },
        `${one.video}, ${clock(one.start_s)} to ${clock(one.end_s)}`),
      element("span", {}, one.why),
      element("small", {}, Object.entries(one.votes ?? {}).sort(([, a], [, b]) => b - a).slice(0, 3)
        .map(([label, share]) => `${label} ${percent(share)}`).join(", ")))))
    : element("p", { class: "note" }, "Nothing is left to suggest in the clips that the server keeps."));
}
