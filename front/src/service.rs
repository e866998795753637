//! Tower services: what `handle` of a type does, for an axum application of one's own.

/// Makes a service of a type that is cheap to clone and answers requests with `handle`. It never fails and is always ready.
macro_rules! tower_service {
    ($service:ty) => {
        impl tower::Service<http::Request<axum::body::Body>> for $service {
            type Response = http::Response<axum::body::Body>;
            type Error = std::convert::Infallible;
            type Future = futures_util::future::BoxFuture<'static, Result<Self::Response, Self::Error>>;

            fn poll_ready(
                &mut self,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Result<(), Self::Error>> {
                std::task::Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: http::Request<axum::body::Body>) -> Self::Future {
                let this = self.clone();
                Box::pin(async move { Ok(this.handle(request).await) })
            }
        }
    };
}

pub(crate) use tower_service;
