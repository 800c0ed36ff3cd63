//! The keyring as a whole, with a real store, real files and a clock that is moved.
