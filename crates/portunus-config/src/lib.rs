//! Text to rules, keys and settings, and back. Pure.
