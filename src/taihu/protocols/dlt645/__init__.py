"""DL/T 645-2007 as bytes and events: China's electricity meters, without any I/O. README.md says what is handled."""
