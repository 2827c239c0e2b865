//! Floor 3: the life of a key; the only place secrets are born.
