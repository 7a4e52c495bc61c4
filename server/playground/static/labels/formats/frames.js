// Seconds and frames, as annotation tools count them. Frames are coarser than marks: files carry the
// seconds too, and they count as long as nobody has moved the frames.

export const FPS = 30; // where neither the file nor the clip says

// First frame, counted from 0, and the frame after the last.
export function framesOf({ start_s: start, end_s: end }, fps) {
  const first = Math.floor(start * fps + 1e-6);
  return [first, Math.max(first + 1, Math.round(end * fps))];
}

export function secondsOf([first, after], fps, exact) {
  const [start, end] = [Number(exact?.start_s ?? NaN), Number(exact?.end_s ?? NaN)];
  const same = start < end && framesOf({ start_s: start, end_s: end }, fps);
  if (same && same[0] === first && same[1] === after) return { start_s: start, end_s: end };
  return { start_s: first / fps, end_s: after / fps };
}

// The name of a file at an address, without what Label Studio puts before an upload's.
export function fileAt(address) {
  const [path, query = ""] = address.split("#")[0].split("?");
  const named = new URLSearchParams(query).get("d");
  const name = (named ?? decoded(path)).split("/").at(-1);
  return path.includes("/data/upload/") ? name.replace(/^[0-9a-f]{8}-/, "") : name;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
