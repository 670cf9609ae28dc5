"""The JavaScript engines that come with Portal. Each is imported when it is first used."""
