"""What answers in an editor: the engines that serve an export, and the settings of the clients that ask them."""
