// The page's files (base/embedded.h) over HTTP. They are sent gzipped from where they lie in the program; the first client that does
// not take gzip costs an inflating. Owns the inflated files, for good; loop thread only.
#include "net/assets.h"

#include <string.h>
#include <strings.h>

#include "base/embedded.h"
#include "net/conn_internal.h"
#include "net/deflate.h"

namespace {

const Embedded *find(std::string_view name) {
    unsigned low = 0, high = embedded_assets_count;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        int order = name.compare(embedded_assets[middle].name);
        if (order == 0) return &embedded_assets[middle];
        if (order < 0) high = middle;
        else low = middle + 1;
    }
    return nullptr;
}

std::string_view trim(std::string_view s) {
    while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
    while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
    return s;
}

// The next member of a comma list; false at its end.
bool list_next(std::string_view *list, std::string_view *member) {
    if (list->empty()) return false;
    size_t comma = list->find(',');
    *member = trim(list->substr(0, comma));
    *list = comma == std::string_view::npos ? std::string_view() : list->substr(comma + 1);
    return true;
}

bool is_one(std::string_view coding, std::string_view name) { return coding.size() == name.size() && strncasecmp(coding.data(), name.data(), name.size()) == 0; }

// gzip or * with a q above 0 (RFC 9110 §12.5.3).
bool takes_gzip(std::string_view accept) {
    bool any = false;
    for (std::string_view member; list_next(&accept, &member);) {
        size_t semicolon = member.find(';');
        std::string_view coding = trim(member.substr(0, semicolon));
        std::string_view weight = semicolon == std::string_view::npos ? std::string_view() : trim(member.substr(semicolon + 1));
        bool wanted = true;
        if (weight.starts_with("q=") || weight.starts_with("Q="))
            wanted = weight.substr(2).find_first_not_of("0.") != std::string_view::npos;
        if (is_one(coding, "gzip") || is_one(coding, "x-gzip")) return wanted;
        if (coding == "*") any = wanted;
    }
    return any;
}

// Is the tag in the list of an If-Match (strongly: a weak tag is never the same) or an If-None-Match? A lone * is any (RFC 9110 §13.1.1, §13.1.2).
bool tag_is_in(std::string_view list, std::string_view etag, bool strongly) {
    if (list == "*") return true;
    for (std::string_view member; list_next(&list, &member);) {
        if (!strongly && member.starts_with("W/")) member.remove_prefix(2);
        if (member == etag) return true;
    }
    return false;
}

// 200, or what the request's conditions make of it, in the order of RFC 9110 §13.2.2. The files have no date, so If-Unmodified-Since and If-Modified-Since
// are to be ignored (§13.1.3, §13.1.4).
int status_by_conditions(HttpRequest *r, std::string_view etag) {
    ScopedBuf match, none_match;
    if (http_has_header(r, "if-match") && !tag_is_in(http_joined(r, "if-match", match), etag, true)) return 412;
    return tag_is_in(http_joined(r, "if-none-match", none_match), etag, false) ? 304 : 200;
}

// Each file is inflated for the first who does not take gzip, and kept: all of them together are what the program was built with.
// Null: it is corrupt, or there is no memory.
const char *inflated(const Embedded *file) {
    static char **kept;
    if (kept == nullptr) kept = (char **)mem_zero(embedded_assets_count * sizeof *kept);
    char *&plain = kept[file - embedded_assets];
    if (plain != nullptr) return plain;
    Buf out;
    if (inflate_gzip({(const char *)file->gz, file->gz_bytes}, file->raw_bytes, out)) return plain = out.data;
    buf_free(out);
    return nullptr;
}

void respond(HttpRequest *r, const Embedded *file, const char *caching, int status) {
    bool gzip = takes_gzip(http_header(r, "accept-encoding"));
    // The inflated file is another representation and needs a tag of its own.
    ScopedBuf lines;
    buf_reserve(lines, 256);
    buf_add(lines, "ETag: ");
    size_t tag_at = lines.len;
    buf_add(lines, file->etag);
    if (!gzip) {
        lines.len--;
        buf_add(lines, "-i\"");
    }
    std::string_view etag = buf_view(lines).substr(tag_at); // 256 bytes are enough: it stays where it is
    buf_add(lines, "\r\nCache-Control: ");
    buf_add(lines, caching);
    buf_add(lines, "\r\nVary: Accept-Encoding\r\n");
    HttpAnswer answer;
    answer.no_store = false;
    answer.status = status == 200 ? status_by_conditions(r, etag) : status;
    if (answer.status == 412) return http_respond_error(r, Err::not_matched);
    if (answer.status == 304) {
        answer.headers = buf_view(lines);
        return http_respond(r, answer);
    }
    answer.type = file->type;
    if (gzip) {
        buf_add(lines, "Content-Encoding: gzip\r\n");
        answer.headers = buf_view(lines);
        answer.body = {(const char *)file->gz, file->gz_bytes};
        answer.body_is_static = true;
        return http_respond(r, answer);
    }
    const char *plain = inflated(file);
    if (plain == nullptr) return http_respond_error(r, Err::overloaded); // no memory: ours are not corrupt
    answer.headers = buf_view(lines);
    answer.body = {plain, file->raw_bytes};
    answer.body_is_static = true;
    http_respond(r, answer);
}

bool reads(HttpRequest *r) {
    if (r->method == HttpMethod::get || r->method == HttpMethod::head) return true;
    http_respond_error(r, Err::bad_method, nullptr, 0, "Allow: GET, HEAD\r\n");
    return false;
}

} // namespace

void assets_respond(HttpRequest *r) {
    constexpr std::string_view folder = "/assets/";
    std::string_view name = r->path.starts_with(folder) ? r->path.substr(folder.size()) : std::string_view();
    size_t slash = name.find('/');
    bool current = slash != std::string_view::npos && name.substr(0, slash) == embedded_version;
    if (slash != std::string_view::npos) name.remove_prefix(slash + 1);
    const Embedded *file = find(name);
    if (file == nullptr) return http_respond_error(r, Err::not_found);
    if (reads(r)) respond(r, file, current ? "public, max-age=31536000, immutable" : "no-cache", 200);
}

void assets_respond_page(HttpRequest *r, std::string_view name, int status) {
    const Embedded *file = find(name);
    if (file == nullptr) return http_respond_error(r, Err::not_found);
    if (reads(r)) respond(r, file, "no-cache", status);
}
