// Clips whose videos the server keeps: they can be opened in any browser with the same key.

import { keptVideo } from "../api.js";
import { element, renew } from "../dom.js";

// `onopen(file)` gets the video that is chosen, `onfail(error)` why it cannot be had.
export function offerKept(root, clips, { onopen, onfail }) {
  const there = clips.filter(({ has_video: hasVideo }) => hasVideo);
  root.hidden = !there.length;
  if (root.hidden) return;
  const choice = element("select", { id: "kept-clip", onchange: async () => {
    const clip = there.find(({ id }) => id === choice.value);
    choice.value = "";
    if (clip) await keptVideo(clip).then(onopen, onfail);
  } }, element("option", { value: "" }, "choose…"),
  there.map(({ id, name }) => element("option", { value: id }, name)));
  renew(root, element("label", {}, "Kept by this server ", choice));
}
