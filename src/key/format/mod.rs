//! How keys look.

/// (to be written)
pub struct KeyFormat(());
/// (to be written)
pub struct KeyFormatBuilder(());
/// (to be written)
pub struct KeyFormats(());
/// (to be written)
pub enum Alphabet {}
/// (to be written)
pub enum Checksum {}
/// (to be written)
pub struct MalformedKey(());
/// (to be written)
pub struct ParsedKey<'a>(&'a str);
impl ParsedKey<'_> {
    pub(crate) fn shape(&self) -> [u8; 2] {
        [0, 0]
    }
    pub(crate) fn body(&self) -> &str {
        self.0
    }
}
/// (to be written)
pub struct ServerSecret(());
