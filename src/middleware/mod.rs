//! Floor 4: key sources, the layer, and how refusals look.
