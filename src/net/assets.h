// The page's files, embedded and gzipped at build time (base/embedded.h): answers GET and HEAD with ETag, 304, 412, gzip by Accept-Encoding with Vary, and
// immutable under their content-hashed folder. A client without gzip gets them inflated. Loop thread only.
#pragma once

#include "net/http.h"

// Answers "/assets/<version>/<name>": immutable; an older version in the path, or none, is served too but not cached for ever. 404 when there is no such name.
void assets_respond(HttpRequest *r);
// Answers with one embedded file as a page (index.html, login.html …): never cached without asking (no-cache with ETag), status as given.
void assets_respond_page(HttpRequest *r, std::string_view name, int status = 200);
