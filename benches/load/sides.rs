//! The sides of the comparison: servers with and without something around their route.

/// One server, and the one to compare it with.
pub struct Side {
    pub name: &'static str,
    pub server: Stack,
    pub around: Around,
    /// The index of the same server with nothing around its route.
    pub without: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stack {
    Axum,
    Hyper,
    Tonic,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Around {
    Nothing,
    /// A layer that does nothing. For any layer, axum boxes and clones the route once more.
    Idle,
    Layer {
        limited: bool,
        success_headers: bool,
    },
    Naive,
    ByHand,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http,
    Grpc,
}

pub const AXUM_LAYER: usize = 2;
pub const AXUM_LAYER_LIMITED: usize = 3;
pub const AXUM_NAIVE: usize = 5;
pub const AXUM_BY_HAND: usize = 6;

/// In the order of the servers' ports.
pub const SIDES: [Side; 11] = [
    side("axum", Stack::Axum, Around::Nothing, 0),
    side("axum, a layer that does nothing", Stack::Axum, Around::Idle, 0),
    side("axum, the layer, no limit", Stack::Axum, LAYER, 0),
    side("axum, the layer, one limit", Stack::Axum, LIMITED, 0),
    side("axum, the layer, one limit, headers on", Stack::Axum, WITH_HEADERS, 0),
    side("axum, naive middleware", Stack::Axum, Around::Naive, 0),
    side("axum, by hand, one limit", Stack::Axum, Around::ByHand, 0),
    side("hyper", Stack::Hyper, Around::Nothing, 7),
    side("hyper, the layer, one limit", Stack::Hyper, LIMITED, 7),
    side("tonic unary", Stack::Tonic, Around::Nothing, 9),
    side("tonic unary, the layer, one limit", Stack::Tonic, LIMITED, 9),
];

const LAYER: Around = Around::Layer {
    limited: false,
    success_headers: false,
};
const LIMITED: Around = Around::Layer {
    limited: true,
    success_headers: false,
};
const WITH_HEADERS: Around = Around::Layer {
    limited: true,
    success_headers: true,
};

const fn side(name: &'static str, server: Stack, around: Around, without: usize) -> Side {
    Side {
        name,
        server,
        around,
        without,
    }
}

impl Side {
    pub fn is_bare(&self) -> bool {
        self.around == Around::Nothing
    }

    pub fn has_limit(&self) -> bool {
        matches!(self.around, Around::ByHand | Around::Layer { limited: true, .. })
    }

    pub fn protocol(&self) -> Protocol {
        match self.server {
            Stack::Tonic => Protocol::Grpc,
            Stack::Axum | Stack::Hyper => Protocol::Http,
        }
    }
}
