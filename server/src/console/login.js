// Who has no certificate that the gateway knows shows a token here.
import { get, token } from "./api.js";
import { h, icon, sentence } from "./dom.js";
import { field } from "./table.js";

/** Shows the form in `main`; `enter` is called once the gateway knows the token. */
export function login(main, problem, enter) {
  const input = h("input", { type: "password", id: "token", autocomplete: "off", spellcheck: "false", required: true });
  const failed = h("p", { class: "notice bad", role: "alert", hidden: !problem });
  const tell = (text) => {
    failed.replaceChildren(icon("bad"), h("span", null, text));
    failed.hidden = false;
  };
  if (problem) tell(problem);
  const go = h("button", { type: "submit", class: "primary" }, "Sign in");
  const submit = async (event) => {
    event.preventDefault();
    go.disabled = true;
    token.set(input.value.trim());
    try {
      await get("/v1/caller");
      enter();
    } catch (wrong) {
      token.forget();
      tell(wrong.status === 401 ? "The gateway does not know this token." : `${sentence(wrong.message)} ${sentence(wrong.remedy)}`);
      input.focus();
      input.select();
    }
    go.disabled = false;
  };
  const form = h("form", { onsubmit: submit }, field("Token", input), failed, go);
  const how = h(
    "details",
    null,
    h("summary", null, "Where do I get a token?"),
    h("p", null, "On the gateway: ", h("code", null, "evergate token NAME"), " makes one that may look, ", h("code", null, "--operate"), " one that may do everything. Its line goes into the file that ", h("code", null, "tokens_file"), " of ", h("code", null, "[api]"), " names; then ", h("code", null, "evergate reload"), "."),
    h("p", null, "A client certificate of an authority in ", h("code", null, "client_ca"), " does as well: the browser asks for it before this page comes. On the gateway itself ", h("code", null, "evergate console"), " needs neither."),
  );
  const kept = h("p", { class: "muted" }, "The token is kept for this tab only, until you sign out or close it.");
  main.replaceChildren(h("div", { class: "login card" }, h("h1", null, h("img", { src: "/console/icon.svg", alt: "", width: "24", height: "24" }), "Evergate"), form, kept, how));
  input.focus();
}
