"""kubeloop: a whole Kubernetes cluster in one asyncio event loop."""
