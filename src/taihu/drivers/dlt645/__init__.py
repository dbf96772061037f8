"""DL/T 645-2007: China's electricity meters, over TCP."""
