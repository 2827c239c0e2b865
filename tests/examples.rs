//! Empty: the tests of the examples are the module `examples` of the target `it`.
