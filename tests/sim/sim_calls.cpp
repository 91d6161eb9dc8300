// HTTP calls. See sim_calls.h.
#include "sim_calls.h"

#include "sim.h"

#include "base/json.h"

#include <stdlib.h>
#include <string.h>

struct Call {
    CallKind kind;
    Wire *wire;
    Client *client;
    Buf in;
    uint64_t begun_us;
    char what[64];
};
static Call calls[calls_max];

bool call_begin(CallKind kind, Client *client, const char *method, const char *path, std::string_view body) {
    Call *call = calls;
    while (call < calls + calls_max && call->wire) call++;
    if (call == calls + calls_max) return false;
    ScopedBuf head;
    buf_printf(head, "%s %s HTTP/1.1\r\nHost: localhost\r\n", method, path);
    if (kind == CallKind::other) buf_printf(head, "Authorization: Bearer %s\r\n", client->token);
    if (!body.empty()) buf_printf(head, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body.size());
    buf_add(head, "Connection: close\r\n\r\n");
    buf_add(head, body);
    buf_clear(call->in);
    call->kind = kind;
    call->client = client;
    call->begun_us = sim.now_us;
    call->wire = wire_connect(4000);
    snprintf(call->what, sizeof call->what, "%s %s", method, path);
    trace("client %u (%s): %s %.*s", client->index, people[client->person].name, call->what, (int)(body.size() < 80 ? body.size() : 80), body.data() ? body.data() : "");
    wire_send(call->wire, buf_view(head));
    if (kind == CallKind::enter) client->is_entering = true;
    stats.calls++;
    return true;
}

static void end(Call *call) {
    wire_free(call->wire);
    call->wire = nullptr;
    if (call->kind == CallKind::enter) call->client->is_entering = people[call->client->person].is_asking = false;
}

static void answered(Call *call, int status, std::string_view body) {
    Client *c = call->client;
    trace("client %u (%s): %s is answered %d", c->index, people[c->person].name, call->what, status);
    promise(status != 500 && status != 0, "%s is answered %d: %.*s", call->what, status, (int)body.size(), body.data());
    if (call->kind == CallKind::enter && (status == 200 || status == 201 || status == 409)) {
        people[c->person].is_registered = true;
        std::string_view token;
        JsonRef o = json_parse(body);
        if (status != 409 && json_string(json_get(o, "token"), &token) && token.size() == uuid_chars) {
            token.copy(c->token, uuid_chars);
            c->token[uuid_chars] = 0;
        }
    }
    if (call->kind == CallKind::enter && status == 401) people[c->person].is_registered = false; // a backup from before, or deleted
    if (call->kind == CallKind::enter && status == 401) people[c->person].is_gone = !!strstr(call->what, "login") && sim_user(sim_disk, 1) != nullptr;
    if (call->kind == CallKind::enter && (status == 403 || status == 429)) c->again_us = sim.now_us + 5'000'000;
    end(call);
}

static void hear(Call *call) {
    wire_take(call->wire, sim.is_healing || chance(700) ? 1 << 20 : below(200), call->in);
    std::string_view in = buf_view(call->in);
    size_t head = in.find("\r\n\r\n");
    if (head != in.npos) {
        size_t at = in.find("Content-Length: ");
        size_t length = at < head ? strtoul(in.data() + at + 16, nullptr, 10) : 0;
        if (in.size() >= head + 4 + length) return answered(call, atoi(in.data() + 9), in.substr(head + 4));
    }
    if (wire_ended(call->wire)) {
        trace("client %u: %s got no answer", call->client->index, call->what);
        return end(call);
    }
    if (!sim.is_healing && chance(5)) {
        wire_cut(call->wire);
        return end(call);
    }
    promise(sim.now_us - call->begun_us < 300'000'000, "%s has not been answered for five minutes", call->what);
}

void calls_hear() {
    for (Call &call : calls)
        if (call.wire) hear(&call);
}

uint32_t calls_under_way() {
    uint32_t n = 0;
    for (const Call &call : calls) n += call.wire != nullptr;
    return n;
}

void calls_lost() {
    for (Call &call : calls)
        if (call.wire) end(&call);
}
