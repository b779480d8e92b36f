# vendor/cache/greeting-1.0.0.gem is made of this folder, by "gem build".
Gem::Specification.new do |s|
  s.name = "greeting"
  s.version = "1.0.0"
  s.summary = "Says hello"
  s.authors = ["hokku"]
  s.license = "Apache-2.0"
  s.files = ["lib/greeting.rb"]
  s.executables = []
end
