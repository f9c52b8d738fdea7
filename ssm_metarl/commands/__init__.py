"""What the commands do, once the command line is understood; this is where torch is loaded."""
