//! Floor 1: schemes, their parameters, and the bounded pool that runs the slow ones.
