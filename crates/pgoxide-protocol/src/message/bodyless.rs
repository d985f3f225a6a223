//! The messages that are a type byte and a length, nothing else: one macro writes all of them.

/// Declares a message without a body: the type, `decode`, `encode` and a `write` that cannot fail.
macro_rules! bodyless {
    ($(#[$doc:meta])* $name:ident = $kind:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name;

        impl $name {
            /// Decodes the body, which must be empty.
            #[inline]
            pub fn decode(body: &[u8]) -> Result<Self, crate::error::DecodeError> {
                crate::wire::Reader::new(stringify!($name), body).finish()?;
                Ok($name)
            }

            /// Appends the whole message.
            #[inline]
            pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), crate::error::EncodeError> {
                write(out);
                Ok(())
            }
        }

        /// Appends the whole message; there is nothing in it that could be refused.
        #[inline]
        pub fn write(out: &mut Vec<u8>) {
            out.extend_from_slice(&[$kind, 0, 0, 0, 4]);
        }
    };
}

pub(crate) use bodyless;
