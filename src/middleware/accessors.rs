//! Access to the inner service, the same for every service.

macro_rules! inner_accessors {
    () => {
        /// The inner service.
        pub fn get_ref(&self) -> &I {
            &self.inner
        }

        /// The inner service, mutably.
        pub fn get_mut(&mut self) -> &mut I {
            &mut self.inner
        }

        /// Unwraps the inner service.
        pub fn into_inner(self) -> I {
            self.inner
        }
    };
}

pub(super) use inner_accessors;
