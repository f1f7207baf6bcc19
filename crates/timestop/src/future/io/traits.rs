//! The traits of others.

#[cfg(feature = "futures-io")]
mod futures {
    use std::io::{self, IoSlice};
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use super::super::{Async, Stream};

    impl<S: Stream + Unpin> futures_io::AsyncRead for Async<S> {
        fn poll_read(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            self.get_mut().poll_read(context, buffer)
        }
    }

    impl<S: Stream + Unpin> futures_io::AsyncWrite for Async<S> {
        fn poll_write(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.get_mut().poll_write(context, buffer)
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            parts: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.get_mut().poll_write_vectored(context, parts)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(self.close_write())
        }
    }
}

#[cfg(feature = "tokio")]
mod tokio_traits {
    use std::io::{self, IoSlice};
    use std::pin::Pin;
    use std::task::{Context, Poll, ready};

    use tokio::io::ReadBuf;

    use super::super::{Async, Stream};

    impl<S: Stream + Unpin> tokio::io::AsyncRead for Async<S> {
        fn poll_read(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            // SAFETY: nothing that was written is made unwritten.
            let room = unsafe { buffer.unfilled_mut() };
            let count = ready!(self.get_mut().poll_read_uninit(context, room))?;
            // SAFETY: the kernel has written so many bytes.
            unsafe { buffer.assume_init(count) };
            buffer.advance(count);
            Poll::Ready(Ok(()))
        }
    }

    impl<S: Stream + Unpin> tokio::io::AsyncWrite for Async<S> {
        fn poll_write(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.get_mut().poll_write(context, buffer)
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            parts: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.get_mut().poll_write_vectored(context, parts)
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(self.close_write())
        }
    }
}
