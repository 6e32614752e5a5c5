//! Carries a stream both ways, each direction ending by itself.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

/// How a carried stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Both sides said their last word.
    Both,
    /// The far side said its last word, and nobody waits for ours.
    Far,
}

/// Copies `input` to `stream` and `stream` to `output`. The end of `input` shuts the sending half only; the end of the
/// stream drops `output`, and with `linger` what still comes from `input` goes on being sent until it ends too.
///
/// # Errors
/// The stream broke, or `output` took no more.
pub fn carry<I, O>(stream: &TcpStream, mut input: I, mut output: O, linger: bool) -> io::Result<Ended>
where
    I: Read + Send + 'static,
    O: Write,
{
    let mut sending = stream.try_clone()?;
    let sender = thread::spawn(move || {
        let copied = copy(&mut input, &mut sending);
        // The far side may be gone already; then there is nothing to shut.
        let _ = sending.shutdown(Shutdown::Write);
        copied
    });
    let mut receiving = stream;
    copy(&mut receiving, &mut output)?;
    drop(output);
    if !linger {
        return Ok(Ended::Far);
    }
    // What the far side no longer takes is no failure: it said its last word before.
    let _ = sender.join();
    Ok(Ended::Both)
}

/// Every read goes out at once: a line-buffered or block-buffered copy would hold back what a person typed.
fn copy(from: &mut dyn Read, to: &mut dyn Write) -> io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let length = match from.read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.write_all(bytes.get(..length).unwrap_or_default())?;
        to.flush()?;
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::mpsc;

    use super::*;

    struct Tell(mpsc::Sender<Vec<u8>>);

    impl Write for Tell {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    #[test]
    fn the_end_of_the_input_leaves_the_answer_flowing() {
        let (near, mut far) = pair();
        let answer = thread::spawn(move || {
            let mut question = String::new();
            far.read_to_string(&mut question).unwrap();
            far.write_all(format!("{question}, indeed").as_bytes()).unwrap();
        });
        let (send, receive) = mpsc::channel();
        assert_eq!(carry(&near, &b"so"[..], Tell(send), true).unwrap(), Ended::Both);
        answer.join().unwrap();
        assert_eq!(receive.iter().flatten().collect::<Vec<u8>>(), b"so, indeed");
    }

    #[test]
    fn the_end_of_the_answer_leaves_the_input_flowing() {
        let (near, mut far) = pair();
        let (mut say, input) = pair();
        let (send, receive) = mpsc::channel();
        let carrier = thread::spawn(move || carry(&near, input, Tell(send), true).unwrap());
        far.write_all(b"last word").unwrap();
        far.shutdown(Shutdown::Write).unwrap();
        assert_eq!(receive.iter().flatten().collect::<Vec<u8>>(), b"last word");
        say.write_all(b"and mine").unwrap();
        drop(say);
        let mut heard = String::new();
        far.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "and mine");
        assert_eq!(carrier.join().unwrap(), Ended::Both);
    }
}
