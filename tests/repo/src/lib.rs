//! What must hold for the repository as a whole. Everything is in `tests/`: layers (arrows only run down), lints
//! (the pure crates deny clocks, files and sockets by one text), texts (links lead somewhere, every page is listed).
