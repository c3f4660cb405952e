// Logs in with the admin token and shows the chosen OpenAPI document. The token stays in this tab: it travels in the Authorization header
// only, and a token in the URL's fragment, which browsers never send, is removed from the address bar at once.

const STORED = "limiter-admin-token";
const CONTROL_PLANE = "../openapi.json";

const [login, field, message] = elements("login", "token", "message");
const [chooser, choice, logout, operations] = elements("chooser", "document", "logout", "operations");

function elements(...ids) {
  return ids.map((id) => document.getElementById(id));
}

function authorized(request) {
  request.headers.Authorization = `Bearer ${sessionStorage.getItem(STORED)}`;
  return request;
}

async function load(source) {
  const response = await fetch(source, authorized({ headers: {}, cache: "no-store" }));
  if (!response.ok) {
    throw new Error(response.status === 401 ? "This is not the admin token." : `The server answered ${response.status}.`);
  }
  return response.json();
}

async function show() {
  const source = choice.value;
  let spec;
  try {
    spec = await load(source);
  } catch (error) {
    leave(error.message);
    return;
  }
  login.hidden = true;
  chooser.hidden = logout.hidden = false;
  operations.replaceChildren(document.createElement("div"));
  window.SwaggerUIBundle({
    domNode: operations.firstChild,
    spec,
    requestInterceptor: authorized,
    // The curl command on the page does not contain the token.
    showMutatedRequest: false,
    // The browser may not call the front listener, which is another origin.
    supportedSubmitMethods: source === CONTROL_PLANE ? ["get", "post", "patch", "delete"] : [],
    validatorUrl: null,
  });
}

function leave(reason) {
  sessionStorage.removeItem(STORED);
  operations.replaceChildren();
  chooser.hidden = logout.hidden = true;
  login.hidden = false;
  message.textContent = reason;
  field.value = "";
  field.focus();
}

function enter(token) {
  sessionStorage.setItem(STORED, token);
  return show();
}

function start() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    history.replaceState(null, "", location.pathname);
    enter(given);
  } else if (sessionStorage.getItem(STORED)) {
    show();
  } else {
    leave("");
  }
}

login.addEventListener("submit", (event) => {
  event.preventDefault();
  enter(field.value.trim());
});
choice.addEventListener("change", show);
logout.addEventListener("click", () => leave(""));
window.addEventListener("hashchange", start);
start();
