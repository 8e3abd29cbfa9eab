// The page: sends what the form says to both shops, tells what happens, and shows the ledgers.
//
// Money is text here, and is never calculated with. All text goes into the page as text, never as HTML.

import { random, sendUntilAnswered } from "./client.js";

const SHOPS = ["without", "with"];
const POLL = 1000;    // milliseconds between two looks at the ledgers
const PATIENCE = 5000;    // milliseconds to wait for them
const clock = new Intl.DateTimeFormat("en", { timeStyle: "medium", hourCycle: "h23" });

const HINTS = {
    "": "All goes well. Both shops charge once.",
    answer: "The shop has committed. Then the connection to your browser is cut, before the answer. "
        + "Your browser sends again.",
    twice: "Your browser sends the payment twice, at the same moment.",
    database: "The database session ends before COMMIT, and the charge is undone. "
        + "Sent again, it is charged once, even without keys.",
    crash: "After COMMIT, a process of PostgreSQL gets kill -9. The server restarts, and the answer is lost. "
        + "Your browser sends again."
};

const WORDS = {
    pay: { noun: "charge", does: "Charges", done: "charged", Done: "Charged" },
    refund: { noun: "refund", does: "Refunds", done: "refunded", Done: "Refunded" }
};

const form = document.getElementById("order");
const field = id => document.getElementById(id);
const part = (shop, name) => document.querySelector(`[data-shop=${shop}] ${name}`);

let visit = keptVisit() ?? newVisit();
let orders = 0;    // placed by this page
let order = null;    // the last one
let playing = false;
let ledger = "";    // as it was read last

// ---------------------------------------------------------------------------------------------------
// What the buttons do
// ---------------------------------------------------------------------------------------------------

form.addEventListener("submit", event => {
    event.preventDefault();
    if (playing)
        return;
    // The key is made once, when the order is placed. All tries have it.
    orders++;
    order = {
        number: orders, id: `order-${orders}-${random(4)}`, item: field("item").value, amount: field("amount").value,
        currency: field("currency").value, receipts: {}
    };
    play("pay", order.id);
});

field("refund").addEventListener("click", () => {
    if (!playing && refundable())
        play("refund", `refund-of-${order.id}`);
});

field("again").addEventListener("click", () => {
    if (playing)
        return;
    visit = newVisit();
    order = null;
    orders = 0;
    for (const shop of SHOPS) {
        part(shop, ".timeline").replaceChildren(make("li", "empty", "Pay, and watch."));
        verdict(shop, "", "Ready", shop === "with" ? "Each order has a key." : "Each request is a new charge.");
    }
    field("problem").textContent = "";
    buttons();
    look();
});

form.addEventListener("input", () => {
    // a keypad may have a comma, and no point
    if (field("amount").value.includes(",")) field("amount").value = field("amount").value.replace(",", ".");
    field("hint").textContent = HINTS[trouble()];
    buttons();
});

// A visit has a ledger of its own, and survives a reload, unless the browser keeps nothing.
function keptVisit() {
    try {
        return sessionStorage.getItem("visit");
    } catch {
        return null;
    }
}

function newVisit() {
    const made = random(8);
    try {
        sessionStorage.setItem("visit", made);
    } catch {
    }
    return made;
}

function trouble() {
    return form.elements.trouble.value;
}

function refundable() {
    return order?.receipts.with && order?.receipts.without && !order.refunded;
}

// A button that cannot be used keeps the focus, so it is not "disabled".
function buttons() {
    field("pay").textContent = `Pay ${field("amount").value} ${field("currency").value} in both shops`;
    field("pay").setAttribute("aria-disabled", playing);
    field("refund").textContent = order ? `Refund order ${order.number}` : "Refund";
    field("refund").setAttribute("aria-disabled", playing || !refundable());
    field("again").setAttribute("aria-disabled", playing);
}

// Sends a payment or a refund to both shops at once.
async function play(kind, key) {
    playing = true;
    field("problem").textContent = "";
    buttons();
    const act = random(8);
    const receipts = await Promise.all(SHOPS.map(shop => playIn(shop, kind, shop === "with" ? key : null, act)));
    SHOPS.forEach((shop, i) => {
        if (kind === "pay")
            order.receipts[shop] = receipts[i];
    });
    order.refunded ||= kind === "refund";
    await look();
    SHOPS.forEach(shop => judge(shop, kind));
    playing = false;
    buttons();
}

async function playIn(shop, kind, key, act) {
    const { id, item, amount, currency, receipts } = order;
    const payment = receipts[shop]?.payment_id;
    const body = JSON.stringify({ kind, visit, order: id, item, amount, currency, payment });
    const story = new Story(shop, kind, key);
    verdict(shop, "busy", kind === "pay" ? "Paying …" : "Refunding …", "");
    document.getElementById("results").scrollIntoView({ block: "nearest" });

    const clicks = trouble() === "twice" ? 2 : 1;
    const request = { path: `${shop}-keys`, body, key, act, trouble: clicks === 1 ? trouble() : "" };
    const answers = await Promise.all(Array.from({ length: clicks }, (_, i) =>
        sendUntilAnswered(request, event => story.tell(event, clicks > 1 ? `Click ${i + 1}` : "Browser"))));
    return answers.find(answer => answer) ?? null;
}

// ---------------------------------------------------------------------------------------------------
// What happened, in plain words
// ---------------------------------------------------------------------------------------------------

class Story {
    constructor(shop, kind, key) {
        this.list = part(shop, ".timeline");
        this.list.replaceChildren();
        this.words = WORDS[kind];
        this.key = key;
        this.money = `${order.amount} ${order.currency}`;
        this.booked = 0;
        this.start = performance.now();
    }

    // who: the browser, or one of its clicks
    tell(event, who) {
        const { noun } = this.words;
        switch (event.what) {
            case "sent":
                return this.add(who, "out",
                    this.key ? `Sends the ${noun}, with the key ${this.key}.` : `Sends the ${noun}.`);
            case "again":
                return this.add(who, "out", this.key ? "Sends the same key again." : "Sends it again.");
            case "behind the scenes":
                return this.tellNotes(event.notes);
            case "no answer":
                return this.add(who, "odd", `No answer. Was it ${this.words.done}? The browser cannot know.`);
            case "later":
                return this.add(who, "odd",
                    event.status === 409 ? "Is told to wait: the key is in flight."
                        : `Gets an error, ${event.status}. Was it ${this.words.done}? The browser cannot know.`,
                    ["Answer", pretty(event.text)]);
            case "refused":
                field("problem").textContent = `The shop refuses: ${detail(event.text)}`;
                return this.add(who, "bad", "Is refused. Nothing was done.", ["Answer", pretty(event.text)]);
            case "gave up":
                return this.add(who, "bad", "Gives up. Look at the ledger.");
            case "receipt":
                return this.add(who, event.replayed ? "good" : this.booked > 1 ? "bad" : "in",
                    event.replayed ? "The first receipt comes back."
                        : this.booked > 1 ? `A receipt comes, of another ${noun}.` : "The receipt comes.",
                    ["Receipt", pretty(event.text)]);
        }
    }

    tellNotes(notes) {
        const { does, noun } = this.words;
        const committed = notes.some(note => note.what === "committed");
        for (const { what, sql } of notes)
            switch (what) {
                case "booked":
                    this.booked += committed;
                    this.add("Database", this.booked > 1 ? "bad" : "in",
                        `${does} ${this.money}${this.booked > 1 ? " again" : ""}${committed ? ", and commits." : "."}`,
                        ["SQL", sql]);
                    break;
                case "found":
                    this.add("Database", "good", `Knows the key: no second ${noun}.`, ["SQL", sql]);
                    break;
                case "ended":
                    this.add("Database", "odd", `The session ends before COMMIT: the ${noun} is undone.`, ["SQL", sql]);
                    break;
                case "crashed":
                    this.add("Database", "odd", "The server crashes: kill -9. It restarts.");
                    break;
                case "cut":
                    this.add("Network", "odd", "The connection is cut: the answer is lost.");
                    break;
            }
    }

    // more: what can be unfolded, a title and a text
    add(who, tone, text, more) {
        const item = make("li", tone);
        const time = ((performance.now() - this.start) / 1000).toFixed(1);
        item.append(make("span", "who", who), make("span", "what", text), make("span", "when", `${time} s`));
        if (more) {
            const details = make("details");
            details.append(make("summary", "", more[0]), make("pre", "", more[1]));
            item.append(details);
        }
        this.list.append(item);
    }
}

// What the ledger says of the last order.
function judge(shop, kind) {
    const { Done, noun } = WORDS[kind];
    const booked = ledger && JSON.parse(ledger).orders.find(row =>
        row.shop === shop && row.kind === kind && row.order === order.id);
    if (!booked)
        return verdict(shop, "", `Not ${WORDS[kind].done}`, "Nothing is in the ledger.");
    const sum = `${booked.booked} ${booked.currency}`;
    if (booked.times > 1)
        verdict(shop, "bad", booked.times === 2 ? `${Done} twice` : `${Done} ${booked.times} times`,
            `${sum} for one order of ${order.amount} ${order.currency}.`);
    else if (part(shop, ".timeline .good"))
        verdict(shop, "good", `${Done} once`, `${sum}, and the first receipt came back.`);
    else
        verdict(shop, "good", `${Done} once`, `${sum}: one ${noun}, one receipt.`);
}

function verdict(shop, tone, title, text) {
    const place = part(shop, ".verdict");
    place.className = `verdict ${tone}`;
    place.replaceChildren(make("strong", "", title), make("span", "", text));
}

// ---------------------------------------------------------------------------------------------------
// The ledgers
// ---------------------------------------------------------------------------------------------------

async function look() {
    const of = visit;
    let text, state = "";
    try {
        const response = await fetch(`ledger?visit=${visit}&order=${order?.id ?? ""}`,
            { signal: AbortSignal.timeout(PATIENCE) });
        text = response.ok ? await response.text() : undefined;
        state = response.ok ? "" : "The database restarts …";
    } catch {
        state = "The shop does not answer. Has it ended?";
    }
    if (field("state").textContent !== state)
        field("state").textContent = state;
    if (text === undefined || text === ledger || of !== visit)
        return;
    ledger = text;
    const { money, rows } = JSON.parse(text);
    for (const shop of SHOPS) {
        showTotals(part(shop, ".totals"), money.filter(row => row.shop === shop));
        showRows(part(shop, ".ledger tbody"), rows.filter(row => row.shop === shop));
    }
}

function showTotals(place, money) {
    const rows = [];
    const one = (name, bad, ...lines) => rows.push([name, bad, lines.length ? lines : ["0"]]);
    for (const kind of ["pay", "refund"]) {
        const { Done } = WORDS[kind];
        const booked = money.filter(row => row.kind === kind);
        if (kind === "refund" && !booked.length)
            continue;
        const twice = booked.reduce((sum, row) => sum + row.twice, 0);
        if (kind === "pay")
            one("Orders", false, String(booked.reduce((sum, row) => sum + row.orders, 0)));
        one(Done, false, ...booked.map(row => `${row.booked} ${row.currency}`));
        one(`${Done} twice`, twice > 0, String(twice),
            ...booked.filter(row => row.too_much).map(row => `${row.too_much} ${row.currency} too much`));
    }
    const parts = rows.map(([name, bad, [first, ...more]]) => {
        const group = make("div", bad ? "bad" : "");
        const value = make("dd", "", first);
        more.forEach(line => value.append(make("small", "", line)));
        group.append(make("dt", "", name), value);
        return group;
    });
    if (place.textContent !== parts.map(group => group.textContent).join(""))
        place.replaceChildren(...parts);
}

function showRows(place, rows) {
    const lines = rows.map(row => {
        const line = make("tr", row.time > 1 ? "bad" : "");
        const booking = (row.kind === "pay" ? "Charge" : "Refund") + (row.time > 1 ? ", again" : "");
        line.append(make("td", "when", clock.format(new Date(row.at))), make("td", "", booking),
            make("td", "item", row.item), make("td", "money", `${row.amount} ${row.currency}`));
        line.title = `${row.order}, payment ${row.payment}`;
        return line;
    });
    if (!lines.length) {
        const nothing = make("td", "empty", "Nothing is booked.");
        nothing.colSpan = 4;
        lines.push(make("tr"));
        lines[0].append(nothing);
    }
    if (place.textContent !== lines.map(line => line.textContent).join(""))
        place.replaceChildren(...lines);
}

async function keepLooking() {
    if (!document.hidden)
        await look();
    setTimeout(keepLooking, POLL);
}

// ---------------------------------------------------------------------------------------------------
// Helpers
// ---------------------------------------------------------------------------------------------------

function make(tag, className = "", text = "") {
    const element = document.createElement(tag);
    if (className)
        element.className = className;
    element.textContent = text;
    return element;
}

// JSON, laid out, without what is null. Amounts are strings, so none is read as a number.
function pretty(text) {
    try {
        return JSON.stringify(JSON.parse(text, (_, value) => value === null ? undefined : value), null, 2);
    } catch {
        return text;
    }
}

function detail(text) {
    try {
        return JSON.parse(text).detail ?? text;
    } catch {
        return text;
    }
}

field("hint").textContent = HINTS[trouble()];
buttons();
keepLooking();
