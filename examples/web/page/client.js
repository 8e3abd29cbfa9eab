// The client of both shops: sends a request until it is answered. Only one of the shops gets a key with it.

const MOST_TRIES = 15;
const PAUSE = 1000;    // milliseconds before the next try
const PATIENCE = 10000;    // milliseconds to wait for an answer

// request: path, body (text), key (or null), act (the same in both shops), trouble (what goes wrong at the first try).
// tell: is called with each event, in order.
// Returns the receipt, or null if the shop refuses, or does not answer in all that time.
export async function sendUntilAnswered(request, tell) {
    for (let tries = 1; tries <= MOST_TRIES; tries++) {
        if (tries > 1)
            await new Promise(resolve => setTimeout(resolve, PAUSE));

        const attempt = random(8);
        const headers = { "Content-Type": "application/json", "Attempt": attempt, "Act": request.act };
        if (request.key)
            headers["Idempotency-Key"] = request.key;
        if (request.trouble && tries === 1)
            headers["Trouble"] = request.trouble;

        tell({ what: tries === 1 ? "sent" : "again" });
        let status = 0, text = "";    // 0: no answer
        try {
            const response = await fetch(request.path,
                { method: "POST", headers, body: request.body, signal: AbortSignal.timeout(PATIENCE) });
            text = await response.text();
            status = response.status;
        } catch {
            // The connection broke before the answer was whole. Perhaps the shop has done it.
        }

        const seen = await notes(attempt);
        tell({ what: "behind the scenes", notes: seen });
        if (status === 201) {
            tell({ what: "receipt", text, replayed: JSON.parse(text).replayed === true });
            return JSON.parse(text);
        }
        if (status === 0) {
            tell({ what: "no answer" });
        } else if (status === 409 || status >= 500) {
            tell({ what: "later", status, text });
        } else {
            tell({ what: "refused", text });
            return null;
        }
    }
    tell({ what: "gave up" });
    return null;
}

// A random number as hexadecimal digits, for keys, too.
export function random(bytes) {
    const random = crypto.getRandomValues(new Uint8Array(bytes));
    return Array.from(random, byte => byte.toString(16).padStart(2, "0")).join("");
}

// What the shop really did with an attempt. A real client cannot ask that.
async function notes(attempt) {
    try {
        return await (await fetch(`attempts/${attempt}`)).json();
    } catch {
        return [];
    }
}
