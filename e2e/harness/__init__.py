"""What the tests need to drive a built `strongroom`: its process, clients, databases, and checks of every answer."""
