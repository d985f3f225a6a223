//! Authentication (B): the server asks for proof of identity, or is content. Source: "Message
//! Formats", AuthenticationOk to AuthenticationSASLFinal.

use super::list::List;
use crate::codes::{authentication as code, backend};
use crate::error::{DecodeError, EncodeError};
use crate::wire::{Reader, frame};

const NAME: &str = "Authentication";

/// All messages of type `R`, told apart by their first word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication<'a> {
    /// AuthenticationOk: identity accepted.
    Ok,
    /// AuthenticationKerberosV5: Kerberos V5, which no supported server asks for.
    KerberosV5,
    /// AuthenticationCleartextPassword: send the password as it is.
    CleartextPassword,
    /// AuthenticationMD5Password: send the password hashed.
    Md5Password {
        /// To be mixed into the hash.
        salt: [u8; 4],
    },
    /// AuthenticationGSS: begin a GSSAPI exchange.
    Gss,
    /// AuthenticationGSSContinue: the next token of a GSSAPI or SSPI exchange.
    GssContinue {
        /// The token.
        data: &'a [u8],
    },
    /// AuthenticationSSPI: begin an SSPI exchange.
    Sspi,
    /// AuthenticationSASL: choose a SASL mechanism.
    Sasl {
        /// The mechanisms offered, in the server's order of preference.
        mechanisms: List<'a, &'a [u8]>,
    },
    /// AuthenticationSASLContinue: the next step of the SASL exchange.
    SaslContinue {
        /// The mechanism's data.
        data: &'a [u8],
    },
    /// AuthenticationSASLFinal: the last step; AuthenticationOk follows.
    SaslFinal {
        /// The mechanism's additional data.
        data: &'a [u8],
    },
    /// A request this protocol version does not define.
    Unknown {
        /// Its code.
        code: i32,
        /// What follows the code.
        data: &'a [u8],
    },
}

impl<'a> Authentication<'a> {
    /// Decodes the body. An unknown code is not an error here: only the client can say whether it
    /// is able to answer, and it names the method when it cannot.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, body);
        let message = match reader.i32("authentication code")? {
            code::OK => Authentication::Ok,
            code::KERBEROS_V5 => Authentication::KerberosV5,
            code::CLEARTEXT_PASSWORD => Authentication::CleartextPassword,
            code::MD5_PASSWORD => Authentication::Md5Password { salt: reader.array("salt")? },
            code::GSS => Authentication::Gss,
            code::GSS_CONTINUE => Authentication::GssContinue { data: reader.rest() },
            code::SSPI => Authentication::Sspi,
            code::SASL => Authentication::Sasl { mechanisms: List::read_terminated(&mut reader, "mechanisms")? },
            code::SASL_CONTINUE => Authentication::SaslContinue { data: reader.rest() },
            code::SASL_FINAL => Authentication::SaslFinal { data: reader.rest() },
            code => Authentication::Unknown { code, data: reader.rest() },
        };
        reader.finish()?;
        Ok(message)
    }

    /// Appends the whole message.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        frame(out, Some(backend::AUTHENTICATION), |out| {
            out.extend_from_slice(&self.code().to_be_bytes());
            match *self {
                Authentication::Ok
                | Authentication::KerberosV5
                | Authentication::CleartextPassword
                | Authentication::Gss
                | Authentication::Sspi => {}
                Authentication::Md5Password { salt } => out.extend_from_slice(&salt),
                Authentication::Sasl { mechanisms } => {
                    mechanisms.write_items(out)?;
                    out.push(0);
                }
                Authentication::GssContinue { data }
                | Authentication::SaslContinue { data }
                | Authentication::SaslFinal { data }
                | Authentication::Unknown { data, .. } => out.extend_from_slice(data),
            }
            Ok(())
        })
    }

    /// The code in the message's first word.
    pub const fn code(&self) -> i32 {
        match *self {
            Authentication::Ok => code::OK,
            Authentication::KerberosV5 => code::KERBEROS_V5,
            Authentication::CleartextPassword => code::CLEARTEXT_PASSWORD,
            Authentication::Md5Password { .. } => code::MD5_PASSWORD,
            Authentication::Gss => code::GSS,
            Authentication::GssContinue { .. } => code::GSS_CONTINUE,
            Authentication::Sspi => code::SSPI,
            Authentication::Sasl { .. } => code::SASL,
            Authentication::SaslContinue { .. } => code::SASL_CONTINUE,
            Authentication::SaslFinal { .. } => code::SASL_FINAL,
            Authentication::Unknown { code, .. } => code,
        }
    }
}
