// What is built into the program: the page's files and the database schema. tools/embed makes the definitions
// from assets/* and src/store/schema.sql at build time; all of it is read-only and lives as long as the process,
// so any thread may read it and nobody owns it. Serving it is net/assets' part, running the schema the store's.
#pragma once

struct Embedded {
    const char *name;        // file name without folder: "app.css"
    const char *type;        // value for Content-Type, charset included for text
    const char *etag;        // quoted hash of the content as served: ready for the ETag header
    const unsigned char *gz; // the content, gzip format
    unsigned gz_bytes;
    unsigned raw_bytes; // length after inflating
};

extern const Embedded embedded_assets[]; // sorted by name, byte order
extern const unsigned embedded_assets_count;

// Short hash over the names and contents of all assets: the URL folder /assets/<hash>/NAME. A change in any
// file gives new URLs for all, so what is served below the folder never changes and may be cached for ever.
extern const char embedded_version[];

extern "C" const char embedded_schema[]; // SQL text, with a terminating zero that is not counted
extern const unsigned embedded_schema_bytes;
