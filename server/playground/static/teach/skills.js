// The skills that were taught here: their versions, which one is served, and what can be done with them.

import { get, send } from "../api.js";
import { element, percent } from "../dom.js";

export const pathOf = (name, ...rest) =>
  ["v1/skills", name, ...rest].map((part) => String(part).split("/").map(encodeURIComponent).join("/"))
    .join("/");

export class Skills {
  constructor(root, { onreport, onchange, onfail }) {
    this.root = root;
    this.tell = { onreport, onchange, onfail };
  }

  async refresh() {
    const { skills } = await get("v1/skills");
    this.root.replaceChildren(element("h3", {}, "Skills taught here"), skills.length
      ? element("div", { class: "cards" }, skills.map((one) => this.card(one)))
      : element("p", { class: "note" }, "None yet."));
  }

  card(skill) {
    const { name, kind, labels, active_version: active, versions, owner_is_you: isMine } = skill;
    return element("div", { class: "card skill", "data-skill": name },
      element("h4", {}, name, isMine ? "" : " (of another key)"),
      element("p", { class: "note" }, `${kind}: ${labels.join(", ")}`),
      element("p", {}, active === null ? "Not served." : `Version ${active} is served.`),
      element("ul", { class: "clips" }, versions.toReversed().map((one) => this.version(skill, one))),
      isMine && element("div", { class: "row" },
        this.button("Roll back", `Roll ${name} back`, () => send("POST", pathOf(name, "rollback"))),
        active !== null && this.button("Stop serving", `Stop serving ${name}`,
          () => send("POST", pathOf(name, "deactivate"))),
        active === null && this.button("Delete", `Delete ${name}`,
          () => send("DELETE", pathOf(name)))));
  }

  version({ name, active_version: active, owner_is_you: isMine }, one) {
    const { version, labels, accuracy, low, high, status, threshold } = one;
    const sure = accuracy === null ? "not judged"
      : `${percent(accuracy)} (${percent(low)} to ${percent(high)})`;
    const path = (...rest) => pathOf(name, ...rest);
    const isOff = version !== active && isMine;
    return element("li", {}, element("span", {}, `${version}: ${labels} labels, ${sure}`
      + `${threshold === null ? "" : `, from ${percent(threshold)} on`}`
      + `${status === "usable" ? "" : ", taught on another bundle"}`),
    isMine && this.button("Report", `Report of ${name} ${version}`, async () => {
      this.tell.onreport(await get(path("versions", version)));
    }, false),
    isOff && status === "usable" && this.button("Serve", `Serve ${name} ${version}`,
      () => send("POST", path("activate"), { version })),
    isOff && this.button("Delete", `Delete ${name} ${version}`,
      () => send("DELETE", path("versions", version))));
  }

  button(text, told, act, isChange = true) {
    return element("button", { type: "button", "aria-label": told, onclick: async ({ target }) => {
      target.disabled = true;
      try {
        await act();
        if (isChange) await this.tell.onchange();
      } catch (error) {
        this.tell.onfail(error);
      }
      target.disabled = false;
    } }, text);
  }
}
