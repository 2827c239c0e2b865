//! Floor 3: the decision about a request. No http in it.
